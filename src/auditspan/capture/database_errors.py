"""Conversion of database errors raised while a record is written."""

from __future__ import annotations

from typing import NoReturn

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from auditspan.errors import AuditWriteError

_RETRIED = frozenset({"40001", "40P01"})
"""PostgreSQL's serialization failure and deadlock: the transaction may succeed when run again."""


def asks_for_retry(error: BaseException) -> bool:
    """Return whether the database asks to run the transaction again."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _RETRIED


def raise_as_refused(error: Exception, message: str) -> NoReturn:
    """Raise a database error as `AuditWriteError`, and every other one unchanged.

    Errors that ask the application to retry its transaction are raised unchanged, since that is
    how the application recognizes them; without a trail, its own COMMIT would have raised them.

    Raises:
        AuditWriteError: the database refused for any other reason.
    """
    if isinstance(error, SQLAlchemyError) and not asks_for_retry(error):
        raise AuditWriteError(message) from error
    raise error
