"""Legal holds: events that must not be purged, as the trail itself records them.

A hold is an event `trail.hold`, and lasts until an event `trail.release` names it. Neither can be
removed unseen: an active hold also holds its own event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, func, select

from auditspan.format import (
    HOLD,
    PURGE,
    RELEASE,
    Json,
    Keyring,
    MacKeys,
    PurgeStatement,
    Target,
    stated,
    timestamp,
)
from auditspan.reading import by_id_or_label
from auditspan.storage import (
    AuditTables,
    EventFilter,
    IsCounted,
    Purge,
    attested_members,
    read_purges,
    retention_rows,
)


@dataclass(frozen=True, kw_only=True)
class HoldCriteria:
    """Criteria of a hold; an event is held if it meets all that are given, or if none is given.

    Attributes:
        target: the target; without an id, all targets of its type.
        actor: the id or the label of the actor.
        until: the first time that is not held, aware.
    """

    target: Target | None = None
    actor: str | None = None
    until: datetime | None = None

    def members(self) -> dict[str, Json]:
        """Return what the record states."""
        return {
            "target_type": self.target.type if self.target else None,
            "target_id": self.target.id if self.target else None,
            "actor": self.actor,
            "until": timestamp(self.until.astimezone(UTC)) if self.until else None,
        }

    def filter(self) -> EventFilter:
        """Return the filter that finds the events."""
        return EventFilter(
            target_type=self.target.type if self.target else None,
            target_id=self.target.id if self.target else None,
            actor=self.actor,
            until=self.until,
        )

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """Read the criteria from what a record states."""
        type_, id_, until = (members.get(name) for name in ("target_type", "target_id", "until"))
        return cls(
            target=Target(type=type_, id=id_) if type_ else None,
            actor=members.get("actor"),
            until=datetime.fromisoformat(until) if until else None,
        )


@dataclass(frozen=True, kw_only=True)
class Hold:
    """An active legal hold.

    Attributes:
        id: the id of its event.
        criteria: the events that it holds.
        placed_at: the time of its event, in the format of the body.
        actor: the id or type of the actor who placed it.
        reason: the recorded reason.
    """

    id: str
    criteria: HoldCriteria
    placed_at: str
    actor: str
    reason: str | None

    def resource(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "id": self.id,
            "criteria": self.criteria.members(),
            "placed_at": self.placed_at,
            "actor": self.actor,
            "reason": self.reason,
        }


def active_holds(connection: Connection, tables: AuditTables, keys: MacKeys = None) -> list[Hold]:
    """Return the holds that are not released, oldest first.

    A hold counts even if its MAC is wrong, a release only if a key verifies it: tampering must not
    end a hold.
    """
    keyring = Keyring(keys)
    found: dict[str, Hold] = {}
    for row in retention_rows(connection, tables):
        if row.action == HOLD:
            found[row.event_id] = _hold(row)
        elif row.action == RELEASE and (members := attested_members(row, keyring)):
            found.pop(str(stated(members["metadata"]).get("hold")), None)
    return list(found.values())


def first_held(connection: Connection, tables: AuditTables, hold: Hold) -> int | None:
    """Return the first sequence number that a hold keeps, its own event included."""
    event, leaf = tables.event, tables.leaf.c
    wanted = by_id_or_label(connection, tables, hold.criteria.filter())
    sealed = select(func.min(leaf.seq)).where(IsCounted(leaf.seq))
    joined = sealed.join(event, event.c.id == leaf.row_id)
    first = connection.scalar(joined.where(*wanted.conditions(event)))
    own = connection.scalar(sealed.where(leaf.event_id == hold.id))
    return min((seq for seq in (first, own) if seq is not None), default=None)


def effective_purge(
    connection: Connection, tables: AuditTables, keys: MacKeys = None
) -> Purge | None:
    """Return the authorised purge of the most rows that no hold follows, released or not."""
    holds = (row.id for row in retention_rows(connection, tables) if row.action == HOLD)
    newest = max(holds, default=0)
    purges = [one for one in read_purges(connection, tables, keys) if one.row_id > newest]
    return max(purges, key=lambda one: one.size, default=None)


def is_authorised(
    connection: Connection, tables: AuditTables, size: int, keys: MacKeys = None
) -> bool:
    """Return whether an event that no hold follows authorises so many leaves, sealed or not."""
    known = effective_purge(connection, tables, keys)
    return (known is not None and known.size >= size) or _waits(connection, tables, size, keys)


def _waits(connection: Connection, tables: AuditTables, size: int, keys: MacKeys) -> bool:
    """Return whether such an event waits to be sealed."""
    keyring, found = Keyring(keys), False
    for row in retention_rows(connection, tables):
        if row.action == HOLD:
            found = False
        elif row.action == PURGE and row.seq is None:
            members = attested_members(row, keyring)
            stated_ = PurgeStatement.read(members["metadata"]) if members else None
            found |= stated_ is not None and stated_.size >= size
    return found


def _hold(row: Row[Any]) -> Hold:
    """Read a hold; one that cannot be read holds everything."""
    members = attested_members(row, Keyring())
    try:
        criteria = HoldCriteria.read(stated(members["metadata"])) if members else HoldCriteria()
    except (TypeError, ValueError):
        criteria = HoldCriteria()
    actor = members["actor"] if members else {"id": None, "type": "unknown"}
    return Hold(
        id=row.event_id,
        criteria=criteria,
        placed_at=row.recorded_at,
        actor=str(actor["id"] or actor["type"]),
        reason=members["reason"] if members else None,
    )
