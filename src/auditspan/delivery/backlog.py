"""Backlog: rows committed but not sealed, or sealed but not delivered, and their age.

Made for probes that run every few seconds: everything is read from indexes and counted up to a
limit, however long the trail and the backlog are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, select

from auditspan.delivery.cursors import Cursors, newest_seq, stored_cursors
from auditspan.delivery.status import WINDOW, read_status
from auditspan.seal import UNSEALED
from auditspan.storage import AuditTables, IsCounted, UtcText, database_time, quarantined
from auditspan.storage.dialects import PerDialect
from auditspan.storage.locks import RELAY, read_leases

MOST = 10_000
"""The limit up to which waiting rows are counted."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Waiting rows.

    Attributes:
        rows: their number; unsealed rows are counted up to `MOST`.
        oldest_seconds: the age of the oldest one; None if none is waiting.
    """

    rows: int
    oldest_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Undelivered(Waiting):
    """Sealed rows that a sink has not acknowledged, as the metric `audit.queue.depth` counts them.

    Attributes:
        quarantined: refused rows that were not sent again, counted up to `MOST`.
        per_second: the records that the sink acknowledged per second, over the last minute.
        failures: the attempts that have failed since the last one that succeeded.
        last_error: the message of the last attempt that failed; it stays after a success.
        last_error_seconds: the time since then; None if no attempt has failed.
    """

    quarantined: int = 0
    per_second: float = 0.0
    failures: int = 0
    last_error: str | None = None
    last_error_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """The backlog of the workers.

    Attributes:
        sealed: the number of sealed rows.
        unsealed: committed rows without a leaf.
        undelivered: undelivered rows for each sink, by its name.
        last_seen_seconds: seconds since a worker last wrote to the tables; None if none ever did.
        is_working: whether workers hold the leases of every sink and renew them; None without
            leases (SQLite).
    """

    sealed: int
    unsealed: Waiting
    undelivered: Mapping[str, Undelivered]
    last_seen_seconds: float | None
    is_working: bool | None


def read_backlog(
    connection: Connection, tables: AuditTables, sinks: Sequence[str] | None = None
) -> Backlog:
    """Return the backlog of the workers, without locks and writes.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        sinks: the names of the sinks; by default those that have cursors.
    """
    now = database_time(connection)
    # Cursors first: rows that are sealed between the two reads do not invalidate them.
    stored = stored_cursors(connection, tables)
    newest = newest_seq(connection, tables)
    sinks = tuple(stored) if sinks is None else sinks
    sent = {name: stored.get(name, Cursors()).within(newest).sent for name in sinks}
    return Backlog(
        sealed=newest + 1,
        unsealed=_unsealed(connection, tables, now),
        undelivered={
            name: _undelivered(connection, tables, name, (one, newest), now)
            for name, one in sent.items()
        },
        last_seen_seconds=_last_seen(connection, tables, now),
        is_working=_IS_WORKING.of(connection)(connection, tables, sinks),
    )


def _unsealed(connection: Connection, tables: AuditTables, now: datetime) -> Waiting:
    rows, first = UNSEALED.of(connection).count_unsealed(connection, tables, MOST)
    if not rows:
        return Waiting(rows=0)
    event = tables.event.c
    recorded = select(UtcText(event.recorded_at)).where(event.id == first)
    return Waiting(rows=min(rows, MOST), oldest_seconds=_age(connection, recorded, now))


def _undelivered(
    connection: Connection, tables: AuditTables, sink: str, span: tuple[int, int], now: datetime
) -> Undelivered:
    event, leaf = tables.event.c, tables.leaf.c
    sent, newest = span
    rows = max(0, newest - sent)
    status = read_status(connection, tables, sink)
    is_recent = (_since(status.updated_at, now) or 0.0) <= 2 * WINDOW
    recorded = (
        select(UtcText(event.recorded_at))
        .join_from(tables.leaf, tables.event, event.id == leaf.row_id)
        .where(leaf.seq == sent + 1)
    )
    return Undelivered(
        rows=rows,
        oldest_seconds=_age(connection, recorded, now) if rows else None,
        quarantined=len(quarantined(connection, tables, sink, limit=MOST)),
        per_second=round(status.last_minute / WINDOW, 3) if is_recent else 0.0,
        failures=status.failures,
        last_error=status.last_error,
        last_error_seconds=_since(status.failed_at, now),
    )


def _last_seen(connection: Connection, tables: AuditTables, now: datetime) -> float | None:
    point, delivery = tables.checkpoint.c, tables.delivery.c
    counted = select(UtcText(point.created_at)).where(IsCounted(point.tree_size))
    newest = counted.order_by(point.tree_size.desc()).limit(1)
    moved = select(UtcText(delivery.updated_at)).order_by(delivery.updated_at.desc()).limit(1)
    ages = (_age(connection, newest, now), _age(connection, moved, now))
    return min((age for age in ages if age is not None), default=None)


def _is_working(connection: Connection, tables: AuditTables, sinks: Sequence[str]) -> bool:
    """Return whether a process holds the lease of each relay and renews it."""
    leases = read_leases(connection, tables)
    names = [f"{RELAY}.{sink}" for sink in sinks]
    return all(name in leases and leases[name].is_current for name in names)


_IS_WORKING = PerDialect[Callable[[Connection, AuditTables, Sequence[str]], bool | None]](
    postgresql=_is_working, sqlite=lambda *_: None
)


def _age(connection: Connection, moment: Select[tuple[str]], now: datetime) -> float | None:
    """Return the seconds since this moment, to the millisecond; None if there is no such row.

    The moment is read as text, since a tampered row may hold an invalid time, and a probe must not
    fail because of it.
    """
    return _since(connection.execute(moment).scalars().first(), now)


def _since(moment: str | None, now: datetime) -> float | None:
    try:
        then = datetime.fromisoformat(moment) if moment else None
    except ValueError:
        return None
    return None if then is None else round(max(0.0, (now - then).total_seconds()), 3)
