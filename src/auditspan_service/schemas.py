"""Input schemas of users and keys, validated before the database is used.

Input is not trimmed, folded or guessed: invalid members are refused by name, without repeating
their values. Text is only normalized to Unicode NFC.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import ErrorDetails

from auditspan_service.errors import FieldError, InvalidInputError
from auditspan_service.models import (
    EMAIL_LENGTH,
    FULL_NAME_LENGTH,
    KEY_NAME_LENGTH,
    TENANT_LENGTH,
    USERNAME_LENGTH,
    utc_now,
)

_Input = TypeVar("_Input", bound=BaseModel)

_MAX_ERRORS = 20
_MAX_NAME = 64
"""Limits of a response to an invalid request: errors listed, and characters of a name."""

# Messages that replace pydantic's, which use Python's terms.
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is unknown; the members are {known}",
    "model_type": "the body must be a JSON object",
    "dict_type": "must be an object",
    "int_type": "must be an integer",
    "list_type": "must be an array",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "timezone_aware": "must have a time zone, such as Z",
    "datetime_type": "must be a time (RFC 3339), as in 2026-01-31T12:00:00Z",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
}

ACTION_PATTERN = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$"

_PATTERNS = {
    ACTION_PATTERN: "must be `type.verb` of letters, digits, - and _, such as invoice.sent"
}
"""Words for patterns that a person has to guess otherwise."""

_WORDS_OF_PARTS = {"extra_forbidden": "is unknown", "model_type": "must be an object"}


def _composed(value: object) -> object:
    """Normalize text to NFC; otherwise `é` as one and as two characters would be two users."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _line(text: str) -> str:
    """Require one printable line, so that names that look the same are the same."""
    if not text.isprintable():
        raise ValueError("must not contain control, formatting or unusual space characters")
    if text != text.strip():
        raise ValueError("must not begin or end with a space")
    return text


def _address(text: str) -> str:
    local, _, domain = text.rpartition("@")
    if not local or not domain or " " in text:
        raise ValueError("must be an email address such as kim@example.org")
    return text


_NFC = BeforeValidator(_composed)
"""The last annotation, so that it runs first and the length limits apply to the stored text."""

Username = Annotated[
    str, Field(min_length=1, max_length=USERNAME_LENGTH), AfterValidator(_line), _NFC
]
Email = Annotated[
    str, Field(max_length=EMAIL_LENGTH), AfterValidator(_line), AfterValidator(_address), _NFC
]
FullName = Annotated[
    str, Field(min_length=1, max_length=FULL_NAME_LENGTH), AfterValidator(_line), _NFC
]
KeyName = Annotated[
    str, Field(min_length=1, max_length=KEY_NAME_LENGTH), AfterValidator(_line), _NFC
]
Tenant = Annotated[str, Field(min_length=1, max_length=TENANT_LENGTH), AfterValidator(_line), _NFC]

MAX_REASON = 2000
"""The maximum number of characters in a reason."""

Reason = Annotated[str, Field(min_length=1, max_length=MAX_REASON), AfterValidator(_line), _NFC]


def parse_time(value: object) -> object:
    """Parse a time, given as text; digits beyond microseconds are cut."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a time (RFC 3339), as in 2026-01-31T12:00:00Z") from None


def _future(value: object) -> object:
    """Parse a time; it must be later than now."""
    given = parse_time(value)
    if isinstance(given, datetime) and given.tzinfo is not None and not utc_now() < given:
        raise ValueError("must be later than now")
    return given


def _past(value: object) -> object:
    """Parse a time; it must be earlier than now."""
    given = parse_time(value)
    if isinstance(given, datetime) and given.tzinfo is not None and utc_now() < given:
        raise ValueError("must be earlier than now")
    return given


FutureTime = Annotated[AwareDatetime, BeforeValidator(_future)]
PastTime = Annotated[AwareDatetime, BeforeValidator(_past)]
MAX_OVERLAP = 90 * 86_400
"""The longest time in seconds for which a rotated key can stay valid."""


class Strict(BaseModel):
    """Input without unknown members and converted values."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)


class NewUser(Strict):
    """Input for a new user."""

    username: Username
    email: Email | None = None
    full_name: FullName | None = None
    active: bool = True


class UserChange(Strict):
    """Input for a change of a user; null removes an optional member."""

    # A default means "not given"; `given` omits it.
    username: Username = ""
    email: Email | None = None
    full_name: FullName | None = None
    active: bool = True

    def given(self) -> dict[str, Any]:
        """Return only the members that were given."""
        return self.model_dump(exclude_unset=True)


class NewKey(Strict):
    """Input for a new API key."""

    scopes: list[str]
    name: KeyName | None = None
    tenant: Tenant | None = None
    expires_at: FutureTime | None = None


class KeyRotation(Strict):
    """Input for the rotation of an API key."""

    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP)] = 86_400


class RoleScopes(Strict):
    """Input for a role."""

    scopes: list[str]


class NewErasure(Strict):
    """Input for the erasure of a user's values."""

    reason: Reason


class NewPurge(Strict):
    """Input for the authorisation of a purge; nothing is recorded in a dry run."""

    before: PastTime
    reason: Reason | None = None
    dry_run: bool = True


def read(kind: type[_Input], members: object) -> _Input:
    """Validate the members and return them as a value of this kind.

    Raises:
        InvalidInputError: members are missing, unknown or invalid.
    """
    try:
        return kind.model_validate(members)
    except ValidationError as error:
        known = list(kind.model_fields)
        details = error.errors(include_url=False, include_input=False)
        raise InvalidInputError(_field_errors(details, known)) from None


def _field_errors(details: Sequence[ErrorDetails], known: list[str]) -> list[FieldError]:
    errors = [
        FieldError(
            field=_shortened(".".join(map(str, detail["loc"]))), message=_message(detail, known)
        )
        for detail in details[:_MAX_ERRORS]
    ]
    if left_out := len(details) - len(errors):
        errors.append(FieldError(field="", message=f"{left_out} more errors are not listed"))
    return errors


def _shortened(name: str) -> str:
    """Shorten a name that the client chose."""
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _message(detail: ErrorDetails, known: list[str]) -> str:
    """Return the message for a member, without its value."""
    context = detail.get("ctx", {})
    words = _PATTERNS.get(context.get("pattern", ""), _WORDS.get(detail["type"]))
    if len(detail["loc"]) > 1:  # of a part, whose members are not in `known`
        words = _WORDS_OF_PARTS.get(detail["type"], words)
    if words is None:
        return detail["msg"].removeprefix("Value error, ")
    return words.format(known=", ".join(known), **context)
