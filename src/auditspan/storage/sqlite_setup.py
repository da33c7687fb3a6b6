"""Set-up of SQLite engines for several writers and for durable commits."""

from __future__ import annotations

import sqlite3
import time

from sqlalchemy import Connection, Engine, event

_BUSY_MILLIS = 30_000
_WAL_PAUSE = 0.01
_IS_SET_UP = "auditspan.is_set_up"


def set_up_sqlite(engine: Engine) -> Engine:
    """Set up the connections of a SQLite engine; do nothing for another database.

    - A transaction begins with BEGIN IMMEDIATE, so a writer waits for its turn (up to 30 seconds)
      before it reads anything. Otherwise SQLite would abort a transaction that reads first and
      writes later (SQLITE_BUSY, immediately, regardless of the timeout). Connections with the
      execution option `postgresql_readonly` begin with BEGIN DEFERRED, and cannot write.
    - A commit is on disk when it returns (`synchronous = FULL`), and readers do not block writers
      (`journal_mode = WAL`).
    - Foreign keys are checked.

    Returns:
        The same engine.
    """
    if engine.url.get_backend_name() == "sqlite":
        event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection), "listens on SQLite engines only"  # noqa: S101
    if not connection.info.get(_IS_SET_UP):
        _configure(driver)
        connection.info[_IS_SET_UP] = True
    reads_only = options.get("postgresql_readonly", False)
    driver.execute(f"PRAGMA query_only = {int(reads_only)}")
    if reads_only:
        driver.execute("BEGIN DEFERRED")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # with a span: a writer waits here


def _configure(driver: sqlite3.Connection) -> None:
    """Configure a connection outside any transaction."""
    driver.isolation_level = None  # otherwise the driver starts transactions, late and DEFERRED
    cursor = driver.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLIS}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Switch the file to WAL mode, which is permanent.

    SQLite does not wait here as it does elsewhere: if several connections switch an empty file at
    the same time, all but one fail immediately with a lock error, regardless of `busy_timeout`.
    """
    deadline = time.monotonic() + _BUSY_MILLIS / 1000
    while not _is_in_wal(cursor, is_last=time.monotonic() > deadline):
        time.sleep(_WAL_PAUSE)


def _is_in_wal(cursor: sqlite3.Cursor, *, is_last: bool) -> bool:
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the primary code
        if is_last or not is_busy:
            raise
        return False
    return True
