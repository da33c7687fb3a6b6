"""Capture on SQLite, which has one writer at a time and begins transactions late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Dialect, Table
from sqlalchemy.exc import OperationalError

from auditspan.capture.staged_change import BATCH, Preview, StagedChange, table_key
from auditspan.storage import dialect_of, execute, fetch
from auditspan.storage.dialects import driver_connection
from auditspan.storage.triggers import TRIGGERS, StagedTable

KNOWS_TRANSACTIONS = False
FUNCTIONS_WRITE = False

_COLUMNS = "id, table_schema, table_name, operation, old, new"


def is_healthy(connection: Connection) -> bool:
    """Ask the driver; an error does not end a transaction."""
    driver = driver_connection(connection)
    return bool(driver.in_transaction)


def is_autocommit(connection: Connection) -> bool:
    """Read the option; the driver's own mode does not tell whether BEGIN was emitted."""
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def commits_by_itself(connection: Connection) -> bool:
    """Return whether the driver begins no transaction, and none was begun by a statement."""
    driver = driver_connection(connection)
    alone = driver.isolation_level is None or getattr(driver, "autocommit", None) is True
    return alone and not driver.in_transaction


def has_failed(_connection: Connection) -> bool:
    """Return False: an error undoes only its statement."""
    return False


def begin_before_savepoint(connection: Connection) -> None:
    """Begin the transaction that SQLite's driver has not begun yet.

    In its legacy mode the driver begins a transaction at the first INSERT, UPDATE or DELETE. A
    SAVEPOINT before that would be the transaction itself, and its RELEASE would commit.
    """
    driver = driver_connection(connection)
    if driver.isolation_level is not None and not driver.in_transaction:
        connection.exec_driver_sql(f"BEGIN {driver.isolation_level}".strip())


def begin_to_write(connection: Connection, staging: Table) -> int | None:
    """Take the write lock, and return the newest id.

    The lock comes first: after a read, the first write would fail instead of waiting if another
    connection had committed in between.
    """
    sql = _sql(staging, connection.dialect)
    try:
        execute(connection, sql.lock)
    except OperationalError as error:
        if "readonly" not in str(error.orig):
            raise
        return None
    return int(fetch(connection, sql.newest)[0][0])


def position(connection: Connection, _staging: Table) -> int:
    """Return the number of changes of this connection, which a savepoint does not roll back."""
    driver = driver_connection(connection)
    return int(driver.total_changes)


def new_change_id(connection: Connection, staging: Table) -> int:
    """Take the id of a row that is removed at once; AUTOINCREMENT does not use it again."""
    name = connection.dialect.identifier_preparer.format_table(staging)
    row = f"INSERT INTO {name} (table_name, operation) VALUES ('', '')"  # noqa: S608 (a quoted name)
    taken = int(connection.exec_driver_sql(row).lastrowid)
    connection.exec_driver_sql(f"DELETE FROM {name} WHERE id = ?", (taken,))  # noqa: S608
    return taken


def drain(
    connection: Connection, staging: Table, preview: Preview, floor: int
) -> Iterator[list[StagedChange]]:
    """Read and delete the rows above the floor."""
    sql = _sql(staging, connection.dialect)
    batch = _read(connection, sql.take, floor)
    ahead = batch if len(batch) == BATCH else []
    while ahead and preview(ahead):
        ahead = _read(connection, sql.take, ahead[-1].id)
    if not batch:
        execute(connection, sql.clear, [(0, 0)])
    while batch:
        execute(connection, sql.clear, [(floor + 1, batch[-1].id)])
        yield batch
        batch = _read(connection, sql.take, batch[-1].id) if len(batch) == BATCH else []


def _read(connection: Connection, take: str, last: int) -> list[StagedChange]:
    return [
        StagedChange(row[0], row[6], table_key(row[1], row[2]), row[3], row[4], row[5])
        for row in fetch(connection, take, (last,))
    ]


def row_place(staging: Table) -> ColumnElement[Any]:
    """Return the primary key."""
    return staging.c.id


def has_deferred(_connection: Connection) -> bool:
    """Return False: there are no deferrable triggers."""
    return False


def has_drain(_connection: Connection, _schema: str | None) -> bool:
    """Return True: the drain is a statement."""
    return True


def standing_problems(connection: Connection, staged: StagedTable) -> Sequence[str]:
    """Create the triggers again if they differ."""
    of = TRIGGERS.of(connection)
    if of.trigger_problems(connection, staged):
        for statement in of.trigger_statements(staged, dialect_of(connection)):
            connection.exec_driver_sql(statement)
    return of.trigger_problems(connection, staged)


class _Sql(NamedTuple):
    """Statements on one staging table."""

    lock: str
    newest: str
    take: str
    clear: str
    """Negative ids are rows that REPLACE might have displaced but did not."""


@lru_cache(maxsize=64)
def _sql(staging: Table, dialect: Dialect) -> _Sql:
    name = dialect.identifier_preparer.format_table(staging)
    return _Sql(
        lock=f"DELETE FROM {name} WHERE id = 0",  # noqa: S608 (a quoted name)
        newest=f"SELECT coalesce(max(id), 0) FROM {name} WHERE id > 0",  # noqa: S608
        take=f"SELECT {_COLUMNS}, position FROM {name} WHERE id > ? ORDER BY id LIMIT {BATCH}",  # noqa: S608
        clear=f"DELETE FROM {name} WHERE id < 0 OR id BETWEEN ? AND ?",  # noqa: S608
    )
