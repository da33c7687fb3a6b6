"""The change of one target, before it becomes a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from auditspan.format import Changes, Disclosure, Json, Target

_NONE: Mapping[str, Json] = {}
"""The shared default for `readable`; never modified."""


class RowChange(NamedTuple):
    """The change of one target.

    Attributes:
        change_id: the id of its last staged change, which gives the order; None if nothing was
            staged.
        metadata: further details to record.
        readable: readable forms of the changed values, by column.
        disclosures: the erasable values among these.
        action: the action; None if it is `type.verb`, with the type of the target.
    """

    verb: str
    target: Target
    changes: Changes
    change_id: int | None = None
    metadata: Mapping[str, Json] | None = None
    readable: Mapping[str, Json] = _NONE
    action: str | None = None
    disclosures: Sequence[Disclosure] = ()
