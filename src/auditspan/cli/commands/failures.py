"""Failures of commands, as sentences."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from auditspan.cli.commands.console import (
    Failure,
    database_reason,
    file_reason,
    internal_error,
)
from auditspan.errors import AuditError


def failure(error: Exception) -> Failure:
    """Return the failure of a command as one sentence, without values that an error quotes."""
    if isinstance(error, AuditError):
        return Failure(error.sentence)
    if isinstance(error, SQLAlchemyError):
        return Failure(
            f"The database operation failed: {database_reason(error)}. Check the database's URL."
        )
    if isinstance(error, OSError):
        return Failure(file_reason(error))
    return Failure(internal_error(error))
