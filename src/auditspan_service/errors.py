"""Errors of the service, with messages for people.

    ServiceError
    ├── InvalidInputError     a member of the input is invalid
    ├── NotFoundError         the object does not exist
    ├── DuplicateError        the name is already taken
    ├── InUseError            something else still needs the object
    ├── StaleError            the object has changed since it was read
    └── KeysUnavailableError  the keys of the identity provider cannot be fetched

`SchemaError` is an `AuditConfigError`: the database schema does not match this release.

They are independent of HTTP: `api/problems.py` turns them into problem documents, the command line
into one sentence and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditspan.errors import AuditConfigError


class ServiceError(Exception):
    """The operation failed."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.message)


class SchemaError(AuditConfigError):
    """The database schema does not match this release."""


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """Error in one member of the input, without its value."""

    field: str
    message: str


class InvalidInputError(ServiceError):
    """The input is well-formed, but some members are invalid."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in errors)
        )


class NotFoundError(ServiceError):
    """The object does not exist."""


class DuplicateError(ServiceError):
    """The name is already taken."""


class InUseError(ServiceError):
    """Something else still needs the object."""


class StaleError(ServiceError):
    """The object has changed since it was read: read it again and repeat the change."""


class KeysUnavailableError(ServiceError):
    """The keys of the identity provider cannot be fetched, so that no token can be checked."""
