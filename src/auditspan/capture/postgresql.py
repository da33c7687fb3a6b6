"""Capture on PostgreSQL: the drain is a function, and staged rows carry their transaction id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Table,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from auditspan.capture.staged_change import BATCH, Preview, StagedChange, table_key
from auditspan.storage import dialect_of, fetch, schema_in
from auditspan.storage.dialects import driver_connection
from auditspan.storage.triggers import TRIGGERS, StagedTable

KNOWS_TRANSACTIONS = True
FUNCTIONS_WRITE = True

_AT_ONCE = 1000
"""The number of rows up to which PostgreSQL returns all of them in one result."""

_COLUMNS = "id, table_schema, table_name, operation, old, new"
_CURSOR = "auditspan_drain"
_IN_TRANSACTION = 2
"""libpq's PQTRANS_INTRANS: in a transaction that has not failed."""
_IN_ERROR = 3
"""libpq's PQTRANS_INERROR: in a transaction in which a statement has failed."""

_HAS_DEFERRED = text(
    "SELECT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgdeferrable)"
)


def is_healthy(connection: Connection) -> bool:
    """Ask the driver."""
    return _transaction_status(connection) == _IN_TRANSACTION


def is_autocommit(connection: Connection) -> bool:
    """Ask the driver; the worker records such changes."""
    driver: Any = connection.connection.dbapi_connection
    return bool(getattr(driver, "autocommit", False))


commits_by_itself = is_autocommit


def has_failed(connection: Connection) -> bool:
    """Ask the driver: after a failed statement, only a savepoint can be rolled back."""
    return _transaction_status(connection) == _IN_ERROR


def _transaction_status(connection: Connection) -> int | None:
    """Return the status as libpq numbers it; None outside a transaction.

    Drivers without libpq (asyncpg, pg8000) do not tell a failed transaction: a statement does.
    """
    driver = driver_connection(connection)
    if hasattr(driver, "pgconn"):  # psycopg, whose `info` is a new object each time
        return int(driver.pgconn.transaction_status)
    if hasattr(driver, "info"):
        return int(driver.info.transaction_status)
    if hasattr(driver, "is_in_transaction") and not driver.is_in_transaction():
        return None
    if is_autocommit(connection):
        return None
    try:
        fetch(connection, "SELECT 1")
    except DBAPIError:
        return _IN_ERROR
    return _IN_TRANSACTION


def begin_before_savepoint(_connection: Connection) -> None:
    """Do nothing: the driver begins a transaction before any statement."""


def begin_to_write(_connection: Connection, _staging: Table) -> int:
    """Lock nothing: rows of other transactions carry another id."""
    return 0


def position(connection: Connection, staging: Table) -> int:
    """Return the next id, which a savepoint does not roll back."""
    name = dialect_of(connection).identifier_preparer.format_table(staging)
    sequence = f"SELECT nextval(pg_get_serial_sequence('{name}', 'id'))"
    return int(fetch(connection, sequence)[0][0])


new_change_id = position


def drain(
    connection: Connection, staging: Table, preview: Preview, _floor: int
) -> Iterator[list[StagedChange]]:
    """Call the drain function, which returns a row of NULL in place of many rows."""
    rows = fetch(connection, _all_sql(staging, dialect_of(connection), _AT_ONCE))
    if rows and rows[0][0] is None:
        yield from _fetch(connection, staging, preview)
    elif rows:
        yield _changes(reversed(rows))


def _fetch(
    connection: Connection, staging: Table, preview: Preview
) -> Iterator[list[StagedChange]]:
    """Read through a server-side cursor, so that at most one batch is in memory here."""
    every = _all_sql(staging, dialect_of(connection), None)
    next_batch = f"FETCH {BATCH} FROM {_CURSOR}"
    connection.exec_driver_sql(f"DECLARE {_CURSOR} SCROLL CURSOR FOR {every} ORDER BY id")
    while (rows := connection.exec_driver_sql(next_batch).all()) and preview(_changes(rows)):
        pass
    connection.exec_driver_sql(f"MOVE ABSOLUTE 0 IN {_CURSOR}")
    while rows := connection.exec_driver_sql(next_batch).all():
        yield _changes(rows)
    connection.exec_driver_sql(f"CLOSE {_CURSOR}")


def _changes(rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> list[StagedChange]:
    return [
        StagedChange(row[0], row[0], table_key(row[1], row[2]), row[3], row[4], row[5])
        for row in rows
    ]


def row_place(_staging: Table) -> ColumnElement[Any]:
    """Return the tuple id; the staging table has no index."""
    return literal_column("ctid")


def has_deferred(connection: Connection) -> bool:
    """Look for triggers of the application."""
    return bool(connection.execute(_HAS_DEFERRED).scalar())


def has_drain(connection: Connection, schema: str | None) -> bool:
    """Look for the function."""
    quoted = connection.dialect.identifier_preparer.quote_identifier
    name = f"{quoted(schema)}.auditspan_drain" if schema else "auditspan_drain"
    found = select(func.to_regprocedure(f"{name}(integer)").is_not(None))
    return bool(connection.scalar(found))


def standing_problems(connection: Connection, staged: StagedTable) -> Sequence[str]:
    """Repair nothing: an application does not own its tables."""
    return TRIGGERS.of(connection).trigger_problems(connection, staged)


@lru_cache(maxsize=64)
def _all_sql(staging: Table, dialect: Dialect, at_most: int | None) -> str:
    name = schema_in(dialect, staging)
    schema = f"{dialect.identifier_preparer.quote_identifier(name)}." if name else ""
    limit = "NULL" if at_most is None else at_most
    return f"SELECT {_COLUMNS} FROM {schema}auditspan_drain({limit})"  # noqa: S608 (a quoted name)
