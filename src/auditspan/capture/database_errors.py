"""Conversion of database errors raised while a record is written."""

from __future__ import annotations

from typing import NoReturn

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from auditspan.errors import AuditWriteError

_RETRIED = frozenset({"40001", "40P01"})
"""PostgreSQL's serialization failure and deadlock: the transaction may succeed when run again."""

_NOT_PERMITTED = "42501"
"""PostgreSQL's code for a missing privilege; its message names the table or function."""


def asks_for_retry(error: BaseException) -> bool:
    """Return whether the database asks to run the transaction again."""
    return isinstance(error, DBAPIError) and sqlstate(error) in _RETRIED


def sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error, where the driver has it."""
    found: str | None = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return found


def raise_as_refused(error: Exception, message: str) -> NoReturn:
    """Raise a database error as `AuditWriteError` with the next step, and others unchanged.

    Errors that ask the application to retry its transaction are raised unchanged, since that is
    how the application recognizes them; without a trail, its own COMMIT would have raised them.

    Raises:
        AuditWriteError: the database refused for any other reason.
    """
    if isinstance(error, SQLAlchemyError) and not asks_for_retry(error):
        raise AuditWriteError(f"{message}: {_next_step(error)}") from error
    raise error


def _next_step(error: SQLAlchemyError) -> str:
    if isinstance(error, DBAPIError) and sqlstate(error) == _NOT_PERMITTED:
        return (
            f"{_first_line(error)}. Grant the role of this transaction what "
            "docs/how-to/guard-the-tables.md lists, or set its role back before the commit"
        )
    return "see the error above, and check that the audit tables exist (`auditspan db check`)"


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]
