"""Delivery cursors of each sink, stored in the database, and the rows beyond them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, Select, select, update

from auditspan.format import SealedRow, SignedCheckpoint
from auditspan.storage import (
    LEASE_PREFIX,
    AuditTables,
    DatabaseClock,
    IsCounted,
    StoredNumber,
    StoredText,
    UtcText,
    insert_counted,
    last_purge,
    latest_checkpoint,
    newest_size,
    stored_bytes,
)
from auditspan.tlog import log_name

_logger = logging.getLogger(__name__)

Item: TypeAlias = SealedRow | SignedCheckpoint
"""An item that the relay sends."""

NOTHING = -1
"""The cursor before the first row; sequence numbers begin at 0."""

_LAST = 2**63 - 1
"""The largest sequence number that a database can hold, which only tampering reaches."""

_CHUNK = 1000
_FETCHED = 64
"""Rows per fetch; kept small, so that few large rows beyond the limit of a batch are fetched."""


@dataclass(frozen=True, kw_only=True)
class Cursors:
    """The cursors of a sink.

    Attributes:
        sent: the last sequence number that the sink acknowledged.
        safe: the last one that it acknowledged long enough ago, with no transport error since, to
            believe that the record would survive a crash of the sink.
    """

    sent: int = NOTHING
    safe: int = NOTHING

    def within(self, newest: int) -> Cursors:
        """Return these cursors, reset as far as this newest sequence number contradicts them.

        A cursor beyond the newest row was set by something other than the relay, so it proves
        nothing about the rows before it either: `sent` falls back to `safe`, and `safe` to the
        beginning. Records are then sent a second time, and none is left out.
        """
        safe = self.safe if self.safe <= newest else NOTHING
        sent = self.sent if max(self.sent, self.safe) <= newest else safe
        sent = max(NOTHING, sent)
        return Cursors(sent=sent, safe=max(NOTHING, min(safe, sent)))


def stored_cursors(connection: Connection, tables: AuditTables) -> dict[str, Cursors]:
    """Return the cursors of every sink as stored, plausible or not."""
    table = tables.delivery.c
    columns = (StoredText(table.sink), StoredNumber(table.sent_seq), StoredNumber(table.safe_seq))
    of_sinks = select(*columns).where(~table.sink.startswith(LEASE_PREFIX))
    rows = connection.execute(of_sinks.order_by(table.sink))
    return {sink: Cursors(sent=sent, safe=safe) for sink, sent, safe in rows}


def load_cursors(connection: Connection, tables: AuditTables, sink: str) -> Cursors:
    """Return the plausible cursors of a sink; a new sink starts before the first row."""
    # Cursors first: rows that are sealed between the two reads do not invalidate them.
    stored = stored_cursors(connection, tables).get(sink, Cursors())
    return stored.within(newest_seq(connection, tables))


def report_purged(connection: Connection, tables: AuditTables, sink: str, sent: int) -> None:
    """Log if the next rows of this sink were purged, so that it starts behind them."""
    rows = sealed_rows(connection, tables, sent, limit=1, max_bytes=1)
    purge = last_purge(connection, tables) if rows and rows[0].seq > sent + 1 else None
    if purge and sent + 1 < purge.size:
        _logger.warning(
            "the sink %s starts at sequence number %d: earlier rows were purged (event %s)",
            *(sink, rows[0].seq, purge.event_id),
        )


def save_cursors(connection: Connection, tables: AuditTables, sink: str, cursors: Cursors) -> None:
    """Store the cursors of a sink."""
    table = tables.delivery
    values = {
        "sent_seq": cursors.sent,
        "safe_seq": cursors.safe,
        "updated_at": DatabaseClock(),  # readers compare it with the database's clock
    }
    known = connection.execute(update(table).where(table.c.sink == sink).values(values))
    if known.rowcount == 0:
        insert_counted(connection, table, {"sink": sink, **values})


def outgoing(
    connection: Connection,
    tables: AuditTables,
    after: int,
    *,
    limit: int,
    max_bytes: int,
    trail: str | None = None,
) -> list[Item]:
    """Return the next rows in sequence order, each followed by the checkpoint that ends with it.

    A checkpoint needs no cursor of its own: it belongs to its last row, is written in the same
    transaction, and is sent in the same batch. Unsigned checkpoints are not sent, nor those of
    purged rows.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        after: the last sequence number that was sent.
        limit: the maximum number of items.
        max_bytes: the approximate maximum size of the bodies.
        trail: the name of the trail; by default the name in its newest signed checkpoint.

    Returns:
        At most `limit` items, and about `max_bytes` of bodies.
    """
    rows = sealed_rows(connection, tables, after, limit=limit, max_bytes=max_bytes)
    points = deque[SignedCheckpoint]()
    if rows:
        trail = trail or trail_name(connection, tables)
        first = _after_purged(connection, tables, after, rows[0].seq)
        points += _checkpoints(connection, tables, first, rows[-1].seq)
    items: list[Item] = []
    for row in rows:
        ending: list[SignedCheckpoint] = []
        while points and points[0].size <= row.seq + 1:
            ending.append(points.popleft())
        if items and len(items) + 1 + len(ending) > limit:
            break
        items.append(row._replace(trail=trail))
        items += ending
    return items


def _after_purged(connection: Connection, tables: AuditTables, after: int, following: int) -> int:
    """Return the last sequence number before which only purged rows are left out."""
    if following <= after + 1:
        return after
    purge = last_purge(connection, tables)
    return max(after, min(purge.size, following) - 1) if purge else after


def trail_name(connection: Connection, tables: AuditTables) -> str | None:
    """Return the name of the trail in its newest signed checkpoint; None if none is signed."""
    table = tables.checkpoint.c
    signed = select(StoredText(table.note)).where(table.note.is_not(None))
    newest = signed.order_by(table.tree_size.desc()).limit(1)
    return log_name(connection.execute(newest).scalar_one_or_none())


def log_names(connection: Connection, tables: AuditTables) -> set[str]:
    """Return every name that the trail has had in signed checkpoints."""
    notes = connection.execute(
        select(StoredText(tables.checkpoint.c.note))
        .where(tables.checkpoint.c.note.is_not(None))
        .execution_options(yield_per=_CHUNK)
    )
    origins = {note.partition("\n")[0]: note for (note,) in notes}  # few origins, many notes
    return {name for note in origins.values() if (name := log_name(note))}


def newest_checkpoint(connection: Connection, tables: AuditTables) -> SignedCheckpoint | None:
    """Return the last checkpoint if it is signed."""
    found = latest_checkpoint(connection, tables)
    if found is None or found.note is None:
        return None
    return _signed(found.size, found.root, found.note, found.created_at)


def sealed_rows(
    connection: Connection, tables: AuditTables, after: int, *, limit: int, max_bytes: int
) -> list[SealedRow]:
    """Return the next rows in sequence order: at most `limit`, and about `max_bytes` of bodies."""
    ordered = _sealed(tables).where(tables.leaf.c.seq > after).order_by(tables.leaf.c.seq)
    # Search `limit` numbers first: without statistics, PostgreSQL might join and sort everything
    # after `after` for each batch. Search further only if rows were removed.
    near = ordered.where(tables.leaf.c.seq <= min(after + limit, _LAST))
    return _fetch(connection, near, max_bytes) or _fetch(
        connection, ordered.limit(limit), max_bytes
    )


def _fetch(
    connection: Connection, statement: Select[tuple[Any, ...]], max_bytes: int
) -> list[SealedRow]:
    rows: list[SealedRow] = []
    size = 0
    with connection.execute(statement) as result:
        for some in result.partitions(_FETCHED):
            for row in map(_sealed_row, some):
                size += len(row.body)
                if rows and size > max_bytes:
                    return rows
                rows.append(row)
    return rows


def rows_of(connection: Connection, tables: AuditTables, ids: Sequence[str]) -> list[SealedRow]:
    """Return the sealed rows with these event ids, in sequence order."""
    wanted = tables.event.c.event_id.in_(ids)
    statement = _sealed(tables).where(wanted).order_by(tables.leaf.c.seq)
    return [_sealed_row(row) for row in connection.execute(statement)]


def _sealed(tables: AuditTables) -> Select[tuple[Any, ...]]:
    event, leaf = tables.event.c, tables.leaf.c
    moment = UtcText(event.recorded_at).label("recorded_at")
    texts = (StoredText(event.body).label("body"), StoredText(event.mac))
    columns = (StoredText(event.event_id), moment, *texts)
    statement = select(leaf.seq, leaf.row_id, *columns).where(IsCounted(leaf.seq))
    return statement.join(tables.event, event.id == leaf.row_id)


def _sealed_row(row: Row[tuple[Any, ...]]) -> SealedRow:
    seq, row_id, event_id, recorded_at, body, mac = row
    return SealedRow(seq, row_id, event_id, _time(recorded_at), body, mac)


def _checkpoints(
    connection: Connection, tables: AuditTables, after: int, last: int
) -> list[SignedCheckpoint]:
    table = tables.checkpoint.c
    columns = (stored_bytes(table.root_hash), StoredText(table.note), UtcText(table.created_at))
    statement = (
        select(table.tree_size, *columns)
        .where(table.tree_size.between(after + 2, min(last + 1, _LAST)), table.note.is_not(None))
        .order_by(table.tree_size)
    )
    return [_signed(*row) for row in connection.execute(statement)]


def _signed(size: int, root: bytes, note: str, created_at: str) -> SignedCheckpoint:
    return SignedCheckpoint(size=size, root=root, note=note, created_at=_time(created_at))


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None  # tampered: an invalid time; `verify` reports it


def newest_seq(connection: Connection, tables: AuditTables) -> int:
    """Return the last assigned sequence number; `NOTHING` if there is none."""
    return newest_size(connection, tables) - 1


def quarantine(
    connection: Connection, tables: AuditTables, sink: str, row: SealedRow, reason: str
) -> None:
    """Quarantine a record that the sink refuses, so that others pass; it stays undelivered."""
    table = tables.quarantine
    known = select(table.c.seq).where(table.c.sink == sink, table.c.seq == row.seq)
    if connection.execute(known).first() is None:
        values = {"sink": sink, "seq": row.seq, "event_id": row.event_id, "reason": reason}
        insert_counted(connection, table, values)
