"""Execution of auditspan's own short statements by the driver's cursor.

SQLAlchemy takes several times as long for such a statement as the database does, and a commit of
one row needs some of them. So they pass neither its events nor its instrumentation, which would add
a span for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

_CURSORS = "auditspan.cursors"
"""The key of the cursors in `Connection.info`, which is emptied when the connection is lost."""

_MOST_CURSORS = 50


def marked(dialect: Dialect, statement: str) -> str:
    """Return a statement, in which `?` stands for a value, with the placeholders of the driver."""
    return statement if dialect.paramstyle == "qmark" else statement.replace("?", "%s")


def fetch(
    connection: Connection, statement: str, parameters: tuple[Any, ...] = ()
) -> Sequence[Sequence[Any]]:
    """Execute a query and return its rows, with the values of the driver.

    The transaction MUST have begun. The placeholders are those of the driver.

    Raises:
        DBAPIError: the database refused, as SQLAlchemy would raise it.
    """
    try:
        cursor = _cursor(connection, statement)
        cursor.execute(statement, parameters)
        return cursor.fetchall()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, statement, error) from error


def execute(
    connection: Connection, statement: str, parameters: Sequence[tuple[Any, ...]] = ((),)
) -> int:
    """Execute a statement once for each of these parameters, and return the number of its rows.

    The transaction MUST have begun. The placeholders are those of the driver.

    Raises:
        DBAPIError: the database refused, as SQLAlchemy would raise it.
    """
    try:
        cursor = _cursor(connection, statement)
        if len(parameters) == 1:
            cursor.execute(statement, parameters[0])
        else:
            connection.dialect.do_executemany(cursor, statement, parameters)
        return int(cursor.rowcount)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, statement, error) from error


def _cursor(connection: Connection, statement: str) -> DBAPICursor:
    """Return the cursor that a driver's connection keeps for this statement.

    psycopg's cursor remembers how to convert the values of the statement that it has executed last.
    """
    info = connection.info
    cursors: dict[str, DBAPICursor] | None = info.get(_CURSORS)
    if cursors is None or len(cursors) > _MOST_CURSORS:
        cursors = info[_CURSORS] = {}
    cursor = cursors.get(statement)
    if cursor is None:
        cursor = cursors[statement] = connection.connection.cursor()
    return cursor


def _wrapped(connection: Connection, statement: str, error: Exception) -> Exception:
    """Return the error as SQLAlchemy would raise it; a lost connection is given up."""
    dialect, driver = connection.dialect, connection.connection
    is_lost = dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
    if is_lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        statement,
        None,
        error,
        dialect.loaded_dbapi.Error,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
