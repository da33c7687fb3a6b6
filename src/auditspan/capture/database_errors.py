"""Errors of the database while a record is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from auditspan.errors import AuditWriteError

_RETRIED = frozenset({"40001", "40P01"})
"""PostgreSQL's serialization failure and deadlock: the transaction may succeed when run again."""


@contextmanager
def refused_as(message: str) -> Iterator[None]:
    """Raise errors of the database as errors of the trail.

    Those that ask the application to run its transaction again stay as they are: that is how it
    recognizes them, and without a trail its own COMMIT would have raised them.

    Raises:
        AuditWriteError: the database refused for any other reason.
    """
    try:
        yield
    except SQLAlchemyError as error:
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _RETRIED:
            raise
        raise AuditWriteError(message) from error
