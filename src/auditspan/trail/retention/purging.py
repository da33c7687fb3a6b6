"""Removal of the rows that the newest authorised purge covers.

The rows go in batches, each in a transaction of its own, after whole partitions. An interrupted
purge is resumed by calling it again: the event says what remains to be removed, and `verify`
accepts its rows whether they are still there or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice

from sqlalchemy import Connection, Engine, func, select

from auditspan.capture import busy
from auditspan.delivery import NOTHING, stored_cursors
from auditspan.errors import RetentionError
from auditspan.format import Json, MacKeys
from auditspan.storage import (
    PURGING,
    AuditTables,
    Purge,
    last_purge,
    lift_time_limits,
    sealed_hashes,
    snapshot,
)
from auditspan.tlog import TreeBuilder
from auditspan.trail.retention.holds import effective_purge

BATCH = 1000
"""Row ids of one transaction."""

_PAUSE = 0.25
"""Seconds between two looks at the sinks."""

Progress = Callable[[int, int], None]
"""Receives the number of rows removed since the last call, and the number of all rows to remove."""


@dataclass(frozen=True, kw_only=True)
class PurgeReport:
    """The result of a purge.

    Attributes:
        event_id: the event that authorises it; None if there is nothing to remove.
        size: the number of leaves that it covers.
        removed: the number of rows that this call removed.
        partitions: the partitions that this call dropped.
    """

    event_id: str | None = None
    size: int = 0
    removed: int = 0
    partitions: tuple[str, ...] = ()

    def resource(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {**asdict(self), "partitions": list(self.partitions)}


def purge_rows(
    engine: Engine,
    tables: AuditTables,
    keys: MacKeys = None,
    *,
    sinks: Collection[str] = (),
    wait: float = 0.0,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> PurgeReport:
    """Remove the rows that the newest authorised purge covers.

    Args:
        engine: the database, for a role that may purge.
        tables: the audit tables.
        keys: the MAC keys of the trail, which verify the authorisation.
        sinks: the names of sinks that must have confirmed it, besides those that the table of
            cursors knows.
        wait: the number of seconds to wait for the sinks.
        batch: the number of row ids in one transaction.
        progress: called after each batch.

    Raises:
        RetentionError: this role may not purge, the authorisation is not confirmed by every sink, a
            hold is newer, or rows differ from what was sealed.
    """
    found = _awaited(engine, tables, keys, sinks, time.monotonic() + wait)
    return _carry_out(engine, tables, found, batch, progress) if found else PurgeReport()


class _UnconfirmedError(Exception):
    """A sink has not confirmed the authorisation yet."""


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A purge that may be carried out, and the first and last id and the number of its rows."""

    purge: Purge
    first: int
    last: int
    total: int


def _awaited(
    engine: Engine,
    tables: AuditTables,
    keys: MacKeys,
    sinks: Collection[str],
    deadline: float,
) -> _Work | None:
    """Return the work to do, when the sinks have confirmed its authorisation."""
    while True:
        try:
            return _checked(engine, tables, keys, sinks)
        except _UnconfirmedError as error:
            if time.monotonic() >= deadline:
                raise RetentionError(str(error)) from None
        time.sleep(_PAUSE)


def _checked(
    engine: Engine, tables: AuditTables, keys: MacKeys, sinks: Collection[str]
) -> _Work | None:
    """Return the work to do; None if there is none."""
    with snapshot(engine) as connection:
        lift_time_limits(connection)
        purge = effective_purge(connection, tables, keys)
        if purge is None:
            _require_no_hold(connection, tables, keys)
        work = _work(connection, tables, purge) if purge else None
        if work is None:
            return None
        _require_confirmed(connection, tables, work.purge, sinks)
        _require_unchanged(connection, tables, work.purge)
        return work


def _carry_out(
    engine: Engine, tables: AuditTables, work: _Work, batch: int, progress: Progress | None
) -> PurgeReport:
    with engine.connect() as connection, busy(connection):
        if not PURGING.of(connection).may_purge(connection, tables):
            raise RetentionError(
                "this database role may not purge: connect as one that has EXECUTE on "
                "auditspan_purge (docs/how-to/retain-and-remove.md)"
            )
        connection.rollback()
        dropped = _drop_partitions(connection, tables)
        removed = sum(rows for _, rows in dropped)
        for start in range(work.first, work.last + 1, batch):
            end = min(start + batch - 1, work.last)
            count = _remove(connection, tables, work.purge.size, start, end)
            removed += count
            if progress:
                progress(count, work.total)
    return PurgeReport(
        event_id=work.purge.event_id,
        size=work.purge.size,
        removed=removed,
        partitions=tuple(name for name, _ in dropped),
    )


def _drop_partitions(connection: Connection, tables: AuditTables) -> list[tuple[str, int]]:
    with connection.begin():
        lift_time_limits(connection)
        return PURGING.of(connection).drop_partitions(connection, tables)


def _remove(connection: Connection, tables: AuditTables, size: int, first: int, last: int) -> int:
    with connection.begin():
        return PURGING.of(connection).remove(connection, tables, size, first, last)


def _require_no_hold(connection: Connection, tables: AuditTables, keys: MacKeys) -> None:
    """Refuse if only a purge that a hold has stopped has rows left."""
    stopped = last_purge(connection, tables, keys)
    if stopped and _work(connection, tables, stopped):
        raise RetentionError(
            f"a legal hold was placed after the purge was authorised (event {stopped.event_id}): "
            "authorise it again with `auditspan retain`, which takes the hold into account"
        )


def _work(connection: Connection, tables: AuditTables, purge: Purge) -> _Work | None:
    """Return the rows that are still to be removed; None if there are none."""
    event, leaf = tables.event, tables.leaf
    joined = leaf.join(event, event.c.id == leaf.c.row_id)
    ends = select(func.min(event.c.id), func.max(event.c.id), func.count()).select_from(joined)
    first, last, total = connection.execute(ends.where(leaf.c.seq < purge.size)).one()
    return _Work(purge=purge, first=first, last=last, total=total) if total else None


def _require_confirmed(
    connection: Connection, tables: AuditTables, purge: Purge, sinks: Collection[str]
) -> None:
    safe = {name: one.safe for name, one in stored_cursors(connection, tables).items()}
    known = dict.fromkeys(sinks, NOTHING) | safe
    late = sorted(name for name, seq in known.items() if seq < purge.seq)
    if late or not known:
        raise _UnconfirmedError(
            f"the event {purge.event_id} is not confirmed yet by {', '.join(late) or 'any sink'}: "
            "let the worker deliver it, and retry after some seconds"
        )


def _require_unchanged(connection: Connection, tables: AuditTables, purge: Purge) -> None:
    """Refuse to remove evidence: rows that differ from their leaves, or leaves that changed."""
    builder, wrong = TreeBuilder(), 0
    with closing(sealed_hashes(connection, tables, 0)) as hashes:
        for stored, hashed in islice(hashes, purge.size):
            wrong += hashed not in {None, stored}
            builder.append(stored)
    if wrong or builder.tree().root != purge.root:
        raise RetentionError(
            "rows of the purge differ from what was sealed: they are evidence; run `auditspan "
            "verify`"
        )
