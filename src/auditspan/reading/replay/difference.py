"""Differences between a trail and the live tables, or between its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auditspan.format import Json, canonical_json, is_password_hash
from auditspan.reading.replay.equality import is_digest, is_stand_in

Kind = Literal[
    "missing-row",
    "no-history",
    "no-create",
    "field",
    "fingerprint",
    "contradiction",
    "unreadable",
    "unknown-type",
    "unaudited-statement",
]
"""The kind of a difference.

`missing-row`: the trail has the object, but the table does not. `no-history`: the table has a row
or field that is not in the trail. `no-create`: a history begins with a change or a delete. `field`:
the values of a field differ. `fingerprint`: the values of a redacted field differ. `contradiction`:
an event contradicts those before it. `unreadable`: the body of a row is not a valid event.
`unknown-type`, `unaudited-statement`: a notice, once for each type, with a count.
"""

NOTICES: frozenset[Kind] = frozenset({"unknown-type", "unaudited-statement"})
"""Kinds that do not count as a difference between the tables and the trail."""

_SHOWN_LENGTH = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One difference between the live tables and the trail.

    Attributes:
        kind: the kind of difference.
        table: the name of the table, or an unknown type.
        key: the id of the object in the trail; None if the difference concerns no single object.
        field: the column; None if the difference concerns the whole row.
        recorded: the recorded value, shortened for display; for a notice, the number of events.
        live: the value in the table; for a contradiction, the old value in the event.
        event_id: the event that contradicts those before it, or begins a history without a create.
    """

    kind: Kind
    table: str
    key: str | None = None
    field: str | None = None
    recorded: Json = None
    live: Json = None
    event_id: str | None = None


def shown(value: Json, *, hidden: bool = False) -> Json:
    """Return a value for display: long values are cut, hidden ones show only their presence."""
    if value is None:
        return None
    if hidden or is_stand_in(value) or is_password_hash(value):
        return {"$redacted": True}
    if is_digest(value) or isinstance(value, bool | int):
        return value
    text = value if isinstance(value, str) else _text(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def _text(value: Json) -> str:
    try:
        return canonical_json(value)
    except RecursionError:
        return "(nested too deeply to show)"
