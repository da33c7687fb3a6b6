"""Events of one object and of its links to others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from auditspan.format import Json, canonical_json, is_change_id
from auditspan.reading.replay.difference import Difference, Kind, shown
from auditspan.reading.replay.equality import is_stand_in, with_key_id
from auditspan.reading.replay.object_store import Fields
from auditspan.reading.replay.object_types import ObjectType

Change = Mapping[str, Any]
"""The old and the new value of a column, or the ids added to and removed from a relationship."""

_MEMBERS = frozenset({"added", "removed"})


@dataclass(kw_only=True, slots=True)  # not frozen: there is one for each row of the trail
class Event:
    """A create, update or delete event.

    Attributes:
        changes: the changes by column.
        links: the changes by relationship.
        mac_key_id: the key of the row, and so of the fingerprints in it.
    """

    id: str
    type: ObjectType
    key: str
    changes: Mapping[str, Change]
    links: Mapping[str, Change]
    mac_key_id: str | None

    @classmethod
    def read(cls, members: Mapping[str, Any], type_: ObjectType, mac_key_id: str | None) -> Self:
        """Read the event of a body.

        Raises:
            KeyError, TypeError, AttributeError: the body is not a valid version 1 body.
        """
        if not is_change_id(members.get("change_id")):
            raise TypeError("the change_id is not an integer or null")
        changes: dict[str, Change] = members["changes"]
        links = {name: one for name, one in changes.items() if not _MEMBERS.isdisjoint(one)}
        return cls(
            id=members["event_id"],
            type=type_,
            key=str(members["target"]["id"]),
            changes={n: c for n, c in changes.items() if n not in links} if links else changes,
            links=links,
            mac_key_id=mac_key_id,
        )

    def value(self, change: Change, side: str) -> Json:
        """Return the old or new value; a stand-in with the id of its key."""
        return with_key_id(change[side], self.mac_key_id)

    def applied_to(self, fields: Fields) -> Fields:
        """Return the fields after the event."""
        new = {n: self.value(one, "new") for n, one in self.changes.items() if "new" in one}
        return fields | new

    def former_key(self) -> str:
        """Return the object's id before an update, which may have changed its primary key."""
        old = {n: self.changes[n]["old"] for n in self.type.key_names if self._has_old(n)}
        if not old:
            return self.key
        now: list[Json] = json.loads(self.key) if len(self.type.key_names) > 1 else [self.key]
        named = zip(self.type.key_names, now, strict=True)
        parts = [old.get(name, part) for name, part in named]
        if len(parts) == 1 and not isinstance(parts[0], dict | list):
            return str(parts[0])
        return canonical_json(parts)

    def difference(self, kind: Kind, name: str | None = None, **values: Json) -> Difference:
        """Return a difference in the history of this object."""
        hidden = name in self.type.redacted or any(map(is_stand_in, values.values()))
        return Difference(
            kind=kind,
            table=self.type.table,
            key=self.key,
            field=name,
            event_id=self.id,
            **{side: shown(value, hidden=hidden) for side, value in values.items()},
        )

    def _has_old(self, name: str) -> bool:
        return "old" in self.changes.get(name, ())


def link_place(type_name: str, relationship: str) -> str:
    """Return the type under which the links of a relationship are stored."""
    return f"{type_name}\0{relationship}"


def link_key(parent: str, child: Json) -> str:
    """Return the key under which one link is stored."""
    return canonical_json([parent, child])
