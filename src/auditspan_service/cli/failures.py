"""Failures of the service's commands, as sentences."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from auditspan.cli.commands import Failure, database_reason
from auditspan.cli.commands import failure as failure_of_trail
from auditspan.errors import as_sentence
from auditspan_service.collector import CollectorError
from auditspan_service.errors import ServiceError


def failure(error: Exception) -> Failure:
    """Return the failure of a command as one sentence, without values that an error quotes."""
    if isinstance(error, ServiceError):
        return Failure(as_sentence(error.message))
    if isinstance(error, CollectorError):
        return Failure(str(error))
    if isinstance(error, SQLAlchemyError):
        return Failure(
            f"The database operation failed: {database_reason(error)}. Check "
            "AUDITSPAN_DATABASE_URL."
        )
    return failure_of_trail(error)
