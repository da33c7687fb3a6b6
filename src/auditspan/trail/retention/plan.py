"""Plan of a purge: which rows may go, and what keeps the others.

A purge ends at a checkpoint: the newest one that is older than the cut-off. All rows under it were
sealed, and so recorded, before the cut-off, which anyone can check afterwards without the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, literal, select

from auditspan.delivery import NOTHING, stored_cursors
from auditspan.errors import RetentionError
from auditspan.format import Json, MacKeys, PurgeStatement, timestamp
from auditspan.storage import (
    AuditTables,
    IsCounted,
    database_time,
    is_quarantined,
    lift_time_limits,
    stored_bytes,
)
from auditspan.trail.retention.holds import active_holds, effective_purge, first_held
from auditspan.trail.retention.late_changes import first_superseded


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Something that keeps rows which are older than the cut-off.

    Attributes:
        size: the number of leaves before the first row that it keeps.
        reason: what it is, in words.
    """

    size: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class RetentionPlan:
    """The rows that a purge would remove.

    Attributes:
        before: the cut-off, in the format of the body.
        size: the number of leaves at the beginning of the sequence whose rows would go.
        root: the root of these leaves, in hexadecimal.
        rows: the number of these rows that exist.
        kept: what keeps further rows that are older than the cut-off.
        is_authorised: whether an event authorises this purge already.
    """

    before: str
    size: int
    root: str
    rows: int
    kept: tuple[Limit, ...] = ()
    is_authorised: bool = False

    def resource(self) -> dict[str, Json]:
        """Return the JSON form."""
        kept: list[Json] = [asdict(one) for one in self.kept]
        return {**asdict(self), "kept": kept}

    @property
    def statement(self) -> PurgeStatement:
        """The statement of the record that authorises the purge."""
        return PurgeStatement(size=self.size, root=bytes.fromhex(self.root), before=self.before)


def plan_retention(
    connection: Connection,
    tables: AuditTables,
    before: datetime,
    *,
    sinks: Collection[str] = (),
    keys: MacKeys = None,
) -> RetentionPlan:
    """Return the rows that may be removed now.

    Args:
        connection: the connection to read from, in one snapshot.
        tables: the audit tables.
        before: the cut-off, aware; rows recorded later stay.
        sinks: the names of sinks that must have confirmed the rows, besides those that the table
            of cursors knows.
        keys: the MAC keys of the trail.

    Raises:
        RetentionError: the cut-off has no time zone, or is in the future.
    """
    lift_time_limits(connection)
    if before.tzinfo is None or before > database_time(connection):
        raise RetentionError("invalid cut-off: expected an aware time in the past")
    oldest = _checkpoint(connection, tables, before, None)[0]
    limits = [one for one in _limits(connection, tables, sinks, keys) if one.size < oldest]
    size, root = _checkpoint(
        connection, tables, before, min((x.size for x in limits), default=None)
    )
    while size and (late := first_superseded(connection, tables, size)) is not None:
        limits.append(Limit(size=late, reason="a change that was recorded late"))
        size, root = _checkpoint(connection, tables, before, late)
    known = effective_purge(connection, tables, keys)
    return RetentionPlan(
        before=timestamp(before),
        size=size,
        root=root.hex(),
        rows=connection.scalars(_count(tables, size)).one(),
        kept=tuple(sorted(limits, key=lambda one: one.size)),
        is_authorised=known is not None and known.size >= size > 0,
    )


def _limits(
    connection: Connection, tables: AuditTables, sinks: Collection[str], keys: MacKeys
) -> Iterator[Limit]:
    yield from _undelivered(connection, tables, sinks)
    for hold in active_holds(connection, tables, keys):
        seq = first_held(connection, tables, hold)
        if seq is not None:
            yield Limit(size=seq, reason=f"the legal hold {hold.id}")


def _undelivered(
    connection: Connection, tables: AuditTables, sinks: Collection[str]
) -> Iterator[Limit]:
    """Yield the sinks, each with the rows that it has not confirmed or has refused."""
    safe = {name: one.safe for name, one in stored_cursors(connection, tables).items()}
    confirmed = dict.fromkeys(sinks, NOTHING) | safe
    if not confirmed:
        yield Limit(size=0, reason="no sink has confirmed any row")
    for name, seq in confirmed.items():
        yield Limit(size=seq + 1, reason=f"the sink {name}, which has not confirmed the rows yet")
        refused = tables.quarantine.c
        first = select(func.min(refused.seq)).where(
            refused.sink == name, is_quarantined(tables, literal(name), refused.seq)
        )
        if (found := connection.scalar(first)) is not None:
            yield Limit(size=found, reason=f"the sink {name}, which has refused a row")


def _checkpoint(
    connection: Connection, tables: AuditTables, before: datetime, limit: int | None
) -> tuple[int, bytes]:
    """Return the size and root of the newest checkpoint before a time, up to a size."""
    point = tables.checkpoint.c
    statement = select(point.tree_size, stored_bytes(point.root_hash)).where(
        IsCounted(point.tree_size), point.created_at < before
    )
    if limit is not None:
        statement = statement.where(point.tree_size <= limit)
    found = connection.execute(statement.order_by(point.tree_size.desc()).limit(1)).first()
    return (found[0], found[1]) if found else (0, b"")


def _count(tables: AuditTables, size: int) -> Select[Any]:
    joined = tables.leaf.join(tables.event, tables.event.c.id == tables.leaf.c.row_id)
    return select(func.count()).select_from(joined).where(tables.leaf.c.seq < size)
