"""The drain: takes the staged changes of a transaction before it commits.

The caller MUST write an audit row for every change that it is given, in the same transaction, and
MUST let an error fail the commit. On SQLite, a change that was taken but not written is recorded
nowhere. On PostgreSQL, the rows stay until the transaction inserts into `audit_event`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Table

from auditspan.storage import dialect_of, fetch, schema_in

BATCH = 2000
"""Rows per batch of a large transaction."""

_AT_ONCE = 1000
"""The number of rows up to which PostgreSQL returns all of them in one result."""

_COLUMNS = "id, table_schema, table_name, operation, old, new"
_CURSOR = "auditspan_drain"


class StagedChange(NamedTuple):
    """One row of the staging table: the images of a row before and after one change.

    Attributes:
        id: orders the changes.
        position: is compared with the positions at which contexts were noted.
        table: the key of the audited table in its metadata.
        operation: INSERT, UPDATE, DELETE or TRUNCATE.
        old, new: the images; None where the row did not exist before or after the change.
    """

    id: int
    position: int
    table: str
    operation: str
    old: str | None
    new: str | None


Look = Callable[[list[StagedChange]], bool]
"""Receives changes ahead of time, and returns whether it needs more of them."""


def drain(
    connection: Connection, staging: Table, look: Look, floor: int = 0
) -> Iterator[list[StagedChange]]:
    """Take the staged changes of the running transaction, oldest first, in batches.

    Args:
        connection: the connection of the transaction.
        staging: the staging table.
        look: if there are several batches, is called with all of them before the first is yielded.
        floor: on SQLite, the newest id that others had staged when the transaction began to write.
            On PostgreSQL, the rows carry their transaction id.
    """
    if connection.dialect.name == "postgresql":
        return _drain_postgresql(connection, staging, look)
    return _drain_sqlite(connection, staging, look, floor)


def _drain_postgresql(
    connection: Connection, staging: Table, look: Look
) -> Iterator[list[StagedChange]]:
    rows = fetch(connection, _all_sql(staging, dialect_of(connection), _AT_ONCE))
    if rows and rows[0][0] is None:
        yield from _fetch(connection, staging, look)
    elif rows:
        yield _changes(reversed(rows))


def _fetch(connection: Connection, staging: Table, look: Look) -> Iterator[list[StagedChange]]:
    """Read through a server-side cursor, so that at most one batch is in memory here."""
    every = _all_sql(staging, dialect_of(connection), None)
    fetch = f"FETCH {BATCH} FROM {_CURSOR}"
    connection.exec_driver_sql(f"DECLARE {_CURSOR} SCROLL CURSOR FOR {every} ORDER BY id")
    while (rows := connection.exec_driver_sql(fetch).all()) and look(_changes(rows)):
        pass
    connection.exec_driver_sql(f"MOVE ABSOLUTE 0 IN {_CURSOR}")
    while rows := connection.exec_driver_sql(fetch).all():
        yield _changes(rows)
    connection.exec_driver_sql(f"CLOSE {_CURSOR}")


def _drain_sqlite(
    connection: Connection, staging: Table, look: Look, floor: int
) -> Iterator[list[StagedChange]]:
    take, clear = _sqlite_sql(staging, connection.dialect)
    batch = _read_sqlite(connection, take, floor)
    ahead = batch if len(batch) == BATCH else []
    while ahead and look(ahead):
        ahead = _read_sqlite(connection, take, ahead[-1].id)
    # Negative ids are rows that REPLACE might have displaced but did not.
    clear = f"{clear} WHERE id < 0 OR id BETWEEN ? AND ?"
    if not batch:
        fetch(connection, clear, (0, 0))
    while batch:
        fetch(connection, clear, (floor + 1, batch[-1].id))
        yield batch
        batch = _read_sqlite(connection, take, batch[-1].id) if len(batch) == BATCH else []


def _read_sqlite(connection: Connection, take: str, last: int) -> list[StagedChange]:
    return [
        StagedChange(row[0], row[6], table_key(row[1], row[2]), row[3], row[4], row[5])
        for row in fetch(connection, take, (last,))
    ]


def _changes(rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> list[StagedChange]:
    return [
        StagedChange(row[0], row[0], table_key(row[1], row[2]), row[3], row[4], row[5])
        for row in rows
    ]


def table_key(schema: str | None, name: str) -> str:
    """Return the key of a table in its metadata."""
    return f"{schema}.{name}" if schema else name


@lru_cache(maxsize=64)
def _all_sql(staging: Table, dialect: Dialect, at_most: int | None) -> str:
    name = schema_in(dialect, staging)
    schema = f"{dialect.identifier_preparer.quote_identifier(name)}." if name else ""
    limit = "NULL" if at_most is None else at_most
    return f"SELECT {_COLUMNS} FROM {schema}auditspan_drain({limit})"  # noqa: S608 (a quoted name)


@lru_cache(maxsize=64)
def _sqlite_sql(staging: Table, dialect: Dialect) -> tuple[str, str]:
    name = dialect.identifier_preparer.format_table(staging)
    return (
        f"SELECT {_COLUMNS}, position FROM {name} WHERE id > ? ORDER BY id LIMIT {BATCH}",  # noqa: S608 (a quoted name)
        f"DELETE FROM {name}",  # noqa: S608
    )
