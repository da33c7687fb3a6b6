"""Settings of SQLite connections for several writers and for durable commits."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, Connection, Dialect, Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

from auditspan.storage.dialects import driver_connection

_BUSY_MILLIS = 30_000
_DRIVERS_BUSY_MILLIS = 5_000
_WAL_PAUSE = 0.01
_PRAGMAS = "auditspan.pragmas"
"""The key of the pragmas of a connection that is set up, in `Connection.info`."""

_BEGINS = "auditspan.begins"
"""The key that is in `Connection.info` while `BEGIN IMMEDIATE` is executed."""

_WAITS = "auditspan_waits"

WAITS: Mapping[str, Any] = {_WAITS: True}
"""Execution options of transactions on SQLite that take the write lock before they read."""

_set_up: WeakSet[Dialect] = WeakSet()


def is_missing_file(url: URL) -> bool:
    """Return whether the URL names a SQLite file that does not exist; connecting creates it."""
    name = url.database if url.get_backend_name() == "sqlite" else None
    if not name or name == ":memory:" or name.startswith("file:"):
        return False
    return not Path(name).exists()


def set_up_sqlite(engine: Engine) -> Engine:
    """Set up the connections of a SQLite engine; do nothing for another database.

    - A transaction takes the write lock at its first write, and waits up to 30 seconds for it
      (`BEGIN IMMEDIATE` for writers). Until then, each of its statements reads what is committed,
      as Python's driver always does; otherwise SQLite would refuse a transaction that reads first
      and writes later (SQLITE_BUSY, immediately, regardless of the timeout). With the execution
      options `WAITS` it takes the lock at its first statement. With `postgresql_readonly` it reads
      one snapshot and cannot write.
    - A commit is on disk when it returns (`synchronous = FULL`), and readers do not block writers
      (`journal_mode = WAL`).
    - Foreign keys are checked, except in a migration by Alembic, whose batch mode drops tables:
      SQLite would delete the rows that refer to them.

    An application that begins transactions by itself (`isolation_level = None`) continues to.

    Returns:
        The same engine.
    """
    if engine.url.get_backend_name() == "sqlite" and engine.dialect not in _set_up:
        _set_up.add(engine.dialect)
        for execution in ("do_execute", "do_executemany", "do_execute_no_params"):
            event.listen(engine, execution, _before_statement, insert=True)
    return engine


def set_up_transaction(connection: Connection) -> None:
    """Apply the settings before the first statement of a transaction; safe to call again.

    Statements through SQLAlchemy call it, as does a session of a trail when it begins. A listener
    of the engine's `begin` would slow down every new `Connection` (docs/adr/0034).

    Raises:
        DBAPIError: the database refused, as SQLAlchemy would raise it.
    """
    if connection.dialect not in _set_up or _in_transaction(connection):
        return
    try:
        _prepare(connection)
    except sqlite3.Error as error:  # SQLAlchemy does not wrap the errors of listeners
        raise DBAPIError.instance("BEGIN", None, error, sqlite3.Error) from error


def _before_statement(*arguments: Any) -> None:
    connection: Connection = arguments[-1].root_connection
    if not _in_transaction(connection):
        _prepare(connection)


def _prepare(connection: Connection) -> None:
    """Configure the connection, if it is new, and begin as its options say."""
    options, info = connection.get_execution_options(), connection.info
    if _PRAGMAS not in info:
        _configure(_cursor(connection))
        info[_PRAGMAS] = (False, False)
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    reads_only = bool(options.get("postgresql_readonly"))
    pragmas = (not _is_migrating(), reads_only)
    if info[_PRAGMAS] != pragmas:
        for name, is_on in zip(("foreign_keys", "query_only"), pragmas, strict=True):
            _cursor(connection).execute(f"PRAGMA {name} = {int(is_on)}")
        info[_PRAGMAS] = pragmas
    if reads_only:
        _cursor(connection).execute("BEGIN DEFERRED")
    elif options.get(_WAITS):
        _wait(connection)
    else:
        _take_lock_at_first_write(connection)


def _wait(connection: Connection) -> None:
    """Begin by a statement of SQLAlchemy, which has a span: a writer waits here."""
    if _BEGINS not in connection.info:
        connection.info[_BEGINS] = True
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            del connection.info[_BEGINS]


def _in_transaction(connection: Connection) -> bool:
    """Return whether a listener of the application has begun the transaction already."""
    driver = driver_connection(connection)
    return bool(driver.in_transaction)


def _take_lock_at_first_write(connection: Connection) -> None:
    """Let the driver begin with BEGIN IMMEDIATE, unless the application has chosen otherwise."""
    driver: Any = connection.connection.dbapi_connection
    if not driver.isolation_level and driver.isolation_level is not None:
        driver.isolation_level = "IMMEDIATE"


def _cursor(connection: Connection) -> DBAPICursor:
    return connection.connection.cursor()


def _configure(cursor: DBAPICursor) -> None:
    """Configure a connection outside any transaction."""
    cursor.execute("PRAGMA busy_timeout")
    ((patience,),) = cursor.fetchall()
    if patience == _DRIVERS_BUSY_MILLIS:  # not chosen by the application
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLIS}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _is_migrating() -> bool:
    """Return whether Alembic runs an environment."""
    alembic: Any = sys.modules.get("alembic.context")
    if alembic is not None:
        with suppress(Exception):  # outside an environment
            alembic.is_offline_mode()
            return True
    return False


def _switch_to_wal(cursor: DBAPICursor) -> None:
    """Switch the file to WAL mode, which is permanent.

    SQLite does not wait here as it does elsewhere: if several connections switch an empty file at
    the same time, all but one fail immediately with a lock error, regardless of `busy_timeout`.
    """
    deadline = time.monotonic() + _BUSY_MILLIS / 1000
    while not _is_in_wal(cursor, is_last=time.monotonic() > deadline):
        time.sleep(_WAL_PAUSE)


def _is_in_wal(cursor: DBAPICursor, *, is_last: bool) -> bool:
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the primary code
        if is_last or not is_busy:
            raise
        return False
    return True
