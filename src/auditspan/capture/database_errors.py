"""Conversion of database errors raised while a record is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from auditspan.errors import AuditWriteError

_RETRIED = frozenset({"40001", "40P01"})
"""PostgreSQL's serialization failure and deadlock: the transaction may succeed when run again."""


def asks_for_retry(error: BaseException) -> bool:
    """Return whether the database asks to run the transaction again."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _RETRIED


@contextmanager
def refused_as(message: str) -> Iterator[None]:
    """Raise database errors as `AuditWriteError`.

    Errors that ask the application to retry its transaction are raised unchanged, since that is
    how the application recognizes them; without a trail, its own COMMIT would have raised them.

    Raises:
        AuditWriteError: the database refused for any other reason.
    """
    try:
        yield
    except SQLAlchemyError as error:
        if asks_for_retry(error):
            raise
        raise AuditWriteError(message) from error
