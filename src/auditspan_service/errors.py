"""Every error that the service itself raises, in words for people.

    ServiceError
    ├── SettingsError         a setting is invalid; nothing was started
    ├── KeyFileError          a key file is missing, unreadable or damaged
    ├── SchemaError           the database is at another schema than this release
    ├── InvalidInputError     a member of the input is not what it must be
    ├── NotFoundError         there is no such thing
    ├── DuplicateError        another thing has this name already
    └── StaleError            it has changed since it was read

None of them knows HTTP: `api/problems.py` makes problem documents of them, the command line one
sentence and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ServiceError(Exception):
    """The service could not do what it was asked to; the message says why."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.message)


class SettingsError(ServiceError):
    """A setting is invalid."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(sentences))


class KeyFileError(ServiceError):
    """A key file is missing, unreadable or damaged."""


class SchemaError(ServiceError):
    """The database is at another schema than this release."""


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """What is wrong with one member of the input; never the value itself."""

    field: str
    message: str


class InvalidInputError(ServiceError):
    """The input is well-formed, but its members are not what they must be."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in errors)
        )


class NotFoundError(ServiceError):
    """There is no such thing."""


class DuplicateError(ServiceError):
    """Another one has this name already."""


class StaleError(ServiceError):
    """It has changed since it was read: read it again, and repeat the change."""
