"""Reader of a trail's events in the order in which the changes happened.

That is the order of the rows, except for events that were recorded late (`change_order`). The trail
is read twice: first only the change ids, to find the late events, whose ids are smaller than an id
recorded before; then everything, with the late events in their right place. Only the ids of late
events are kept, in a temporary file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Select, select

from auditspan.reading.replay import explained, open_temporary_file
from auditspan.storage import AuditTables, ColumnForm, Forms, StoredText

_CHUNK = 1000
_FETCHED = 200
"""Late events per read."""

_SCHEMA = "CREATE TABLE late (change_id, row_id, PRIMARY KEY (change_id, row_id)) WITHOUT ROWID"
_PUT = "INSERT OR IGNORE INTO late VALUES (?, ?)"
_ALL = "SELECT row_id FROM late ORDER BY change_id, row_id"


class Row(NamedTuple):
    """The columns of a trail's row that a replay needs."""

    row_id: int
    event_id: str
    body: str
    mac_key_id: str | None
    change_id: int | None


def read_in_change_order(connection: Connection, tables: AuditTables) -> Iterator[Row]:
    """Read the whole trail in the order of the changes, in memory that does not grow with it.

    Raises:
        AuditConfigError: there is no room for the temporary file.
    """
    with closing(open_temporary_file(_SCHEMA)) as late:
        _find_late(connection, tables, late)
        yield from _merged(_on_time(connection, tables), _late(connection, tables, late))


def _find_late(connection: Connection, tables: AuditTables, late: sqlite3.Connection) -> None:
    event = tables.event.c
    own = ChangeId(event.body)
    statement = select(own, event.id).where(own.is_not(None)).order_by(event.id)
    result = connection.execute(statement, execution_options={"yield_per": _CHUNK})
    newest = 0
    for rows in result.partitions():
        found = []
        for change_id, row_id in rows:
            if change_id < newest:
                found.append((change_id, row_id))
            newest = max(newest, change_id)
        with explained():
            late.execute("BEGIN")
            late.executemany(_PUT, found)
            late.execute("COMMIT")


def _on_time(connection: Connection, tables: AuditTables) -> Iterator[Row]:
    """Read the rows that are not late: their change ids never decrease."""
    statement = _rows(tables).order_by(tables.event.c.id)
    newest = 0
    for values in connection.execute(statement, execution_options={"yield_per": _CHUNK}):
        row = Row(*values)
        if row.change_id is None or row.change_id >= newest:
            newest = row.change_id or newest
            yield row


def _late(connection: Connection, tables: AuditTables, late: sqlite3.Connection) -> Iterator[Row]:
    """Read the late rows, oldest changes first."""
    with explained(), closing(late.execute(_ALL)) as found:
        while ids := [row_id for (row_id,) in found.fetchmany(_FETCHED)]:
            statement = _rows(tables).where(tables.event.c.id.in_(ids))
            rows = [Row(*values) for values in connection.execute(statement)]
            yield from sorted(rows, key=lambda row: (row.change_id or 0, row.row_id))


def _merged(on_time: Iterator[Row], late: Iterator[Row]) -> Iterator[Row]:
    waiting = next(late, None)
    for row in on_time:
        while waiting and row.change_id is not None and (waiting.change_id or 0) < row.change_id:
            yield waiting
            waiting = next(late, None)
        yield row
    if waiting:
        yield waiting
    yield from late


def _rows(tables: AuditTables) -> Select[Any]:
    event = tables.event.c
    texts = (StoredText(event[name]) for name in ("event_id", "body", "mac_key_id"))
    return select(event.id, *texts, ChangeId(event.body))


class ChangeId(ColumnForm[int]):
    """The change id of a canonical body, read in the database; NULL if there is none."""

    inherit_cache = True
    type = BigInteger()
    forms = Forms(
        postgresql=lambda body: (
            f"CAST(substring({_found(body, 'strpos')} FROM '^[0-9]+') AS BIGINT)"
        ),
        # `null` casts to 0.
        sqlite=lambda body: f"nullif(CAST({_found(body, 'instr')} AS INTEGER), 0)",
    )


def _found(body: str, find: str) -> str:
    """Return the text that begins with the change id, which follows the actor, an object."""
    return f"""substr({body}, nullif({find}({body}, '}},"change_id":'), 0) + 14, 16)"""
