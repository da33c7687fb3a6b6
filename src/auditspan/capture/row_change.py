"""What became of one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from auditspan.format import Changes, Json, Target


@dataclass(frozen=True, kw_only=True)
class RowChange:
    """What became of one target.

    Attributes:
        change_id: the id of its last staged change, which gives the order; None where nothing was
            staged.
        metadata: what else is told of it.
        action: the action; None where it is the type of the target and the verb.
    """

    verb: str
    target: Target
    changes: Changes
    change_id: int | None = None
    metadata: Mapping[str, Json] | None = None
    action: str | None = None
