"""What the state check found."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from auditspan.format import Json, canonical_json, is_password_hash
from auditspan.verify.state.equality import is_digest, is_stand_in

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
"""What a difference is.

`missing-row`: the trail has it, the table does not. `no-history`: the table has a row, or a field
of one, of which the trail says nothing. `no-create`: a history that begins with a change or a
delete. `field`: both have it, with other values. `fingerprint`: the same of a redacted column.
`contradiction`: an event does not fit those before it. `unreadable`: an event that is none.
`unknown-type`, `unaudited-statement`: a notice, once for each type, with a count.
"""

NOTICES: frozenset[Kind] = frozenset({"unknown-type", "unaudited-statement"})
"""Kinds that alone do not make the tables differ from the trail."""

_SHOWN_LENGTH = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing in which the live tables are not what the trail says.

    Attributes:
        kind: what it is.
        table: the name of the table; of an unknown type, the type.
        key: the id of the object as the trail has it, None where it is about no single one.
        field: the column, None where it is about the whole row.
        recorded: what the trail says, shortened for people; of a notice, how many events.
        live: what the table has; of a contradiction, what the event says was there.
        event_id: the event that contradicts those before it, or begins a history without a create.
    """

    kind: Kind
    table: str
    key: str | None = None
    field: str | None = None
    recorded: Json = None
    live: Json = None
    event_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class StateReport:
    """What `check_state` found.

    Attributes:
        events: how many events made, changed or removed an object.
        objects: how many live rows were compared.
        differences: everything found, notices included, in the order in which it was found.
    """

    events: int
    objects: int
    differences: list[Difference]

    @property
    def ok(self) -> bool:
        """Whether there was something to compare, and the tables are what the trail says."""
        return self.events > 0 and all(one.kind in NOTICES for one in self.differences)

    def counts(self) -> dict[Kind, int]:
        """How many differences there are of each kind."""
        return dict(Counter(one.kind for one in self.differences))

    def to_dict(self) -> dict[str, Any]:
        """The fixed JSON form."""
        return {
            "ok": self.ok,
            "objects": self.objects,
            "differences": [asdict(one) for one in self.differences],
        }


def shown(value: Json, *, hidden: bool = False) -> Json:
    """A value for people: long ones are cut, and of a hidden one only that it is there."""
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
