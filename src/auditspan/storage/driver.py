"""Execution of auditspan's own short statements by the driver's cursor.

SQLAlchemy takes several times as long for such a statement as SQLite does, and a commit of one row
needs four of them. So they pass neither its events nor its instrumentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def fetch(
    connection: Connection, statement: str, parameters: tuple[Any, ...] = ()
) -> Sequence[Sequence[Any]]:
    """Execute a statement and return its rows, with the values of the driver.

    The transaction MUST have begun. The placeholders are those of the driver.

    Raises:
        DBAPIError: the database refused, as SQLAlchemy would raise it.
    """
    dialect, cursor = connection.dialect, connection.connection.cursor()
    try:
        dialect.do_execute(cursor, statement, parameters)
        return cursor.fetchall() if cursor.description else []
    except dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, statement, error) from error
    finally:
        cursor.close()


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
