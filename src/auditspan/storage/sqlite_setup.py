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
_IS_SET_UP = "auditspan.is_set_up"
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
      options `WAITS` it takes the lock at its beginning. With `postgresql_readonly` it reads one
      snapshot and cannot write.
    - A commit is on disk when it returns (`synchronous = FULL`), and readers do not block writers
      (`journal_mode = WAL`).
    - Foreign keys are checked, except in a migration by Alembic, whose batch mode drops tables:
      SQLite would delete the rows that refer to them.

    An application that begins transactions by itself (`isolation_level = None`) continues to.

    Returns:
        The same engine.
    """
    if engine.url.get_backend_name() == "sqlite":
        _set_up.add(engine.dialect)
        if not event.contains(Engine, "begin", _begin):
            event.listen(Engine, "begin", _begin)  # not earlier: it slows down every engine
    return engine


def set_up_late(connection: Connection) -> None:
    """Apply the settings to a connection that began before its engine was set up."""
    if connection.dialect in _set_up and not connection.info.get(_IS_SET_UP):
        _begin(connection)


def _begin(connection: Connection) -> None:
    if connection.dialect not in _set_up or _in_transaction(connection):
        return
    try:
        _prepare(connection)
    except sqlite3.Error as error:  # SQLAlchemy does not wrap the errors of listeners
        raise DBAPIError.instance("BEGIN", None, error, sqlite3.Error) from error


def _prepare(connection: Connection) -> None:
    """Configure the connection, if it is new, and begin as its options say."""
    options, info = connection.get_execution_options(), connection.info
    if not info.get(_IS_SET_UP):
        _configure(_cursor(connection))
        info[_IS_SET_UP] = True
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    reads_only = options.get("postgresql_readonly", False)
    pragmas = {"foreign_keys": not _is_migrating(), "query_only": reads_only}
    for pragma, is_on in pragmas.items():  # both are off in a new connection
        if info.get(pragma_key := f"auditspan.{pragma}", False) is not is_on:
            _cursor(connection).execute(f"PRAGMA {pragma} = {int(is_on)}")
            info[pragma_key] = is_on
    if reads_only:
        _cursor(connection).execute("BEGIN DEFERRED")
    elif options.get(_WAITS):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # with a span: a writer waits here
    else:
        _take_lock_at_first_write(connection)


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
