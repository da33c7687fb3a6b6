"""Canonical JSON (RFC 8785) in the audit body profile, and conversion of Python values to it.

The profile: keys are ASCII and do not start with ``$``, except those that auditspan adds; values
are strings without NUL or lone surrogates, true, false, null, integers within ±(2**53 - 1), arrays
and objects. Any other value is represented losslessly as a string or refused, never altered
silently.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import ipaddress
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from auditspan.errors import AuditBodyError

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser reads exactly (RFC 8785 §3.2.2.3)."""

_UNFIT_TEXT = re.compile("[\x00\ud800-\udfff]")
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
_quote = json.encoder.encode_basestring
_MICROSECOND = timedelta(microseconds=1)


def canonical_json(value: Json | Mapping[str, Json]) -> str:
    """Return the RFC 8785 text of a value within the profile.

    Raises:
        AuditBodyError: the value is outside the profile; convert it with `represent`.
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        _require_profile(value)
        raise
    if not _is_plain(value) or not _is_plain_text(text):
        _require_profile(value)  # raises an error that names the problem, if there is one
    return text


def canonical_scalar(value: Json) -> str:
    """Return the canonical JSON of a value, with a fast path for scalars.

    Raises:
        AuditBodyError: the value is outside the profile.
    """
    if value is None:
        return "null"
    if type(value) is str and _UNFIT_TEXT.search(value) is None:
        return _quote(value)
    if type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER:
        return str(value)
    if type(value) is bool:
        return "true" if value else "false"
    return canonical_json(value)


@lru_cache(maxsize=1024, typed=True)
def canonical_word(word: str | None) -> str:
    """Cached `canonical_json` for recurring strings.

    Raises:
        AuditBodyError: the string is outside the profile.
    """
    return canonical_scalar(word)


@lru_cache(maxsize=4096)
def canonical_key(name: str) -> str:
    """Return the canonical JSON of a member's name, cached.

    Raises:
        AuditBodyError: the name is outside the profile.
    """
    return canonical_json({name: None}).removeprefix("{").removesuffix(":null}")


def parse_canonical(text: str) -> Json:
    """Parse canonical JSON.

    Raises:
        AuditBodyError: the text is not JSON, or not canonical.
    """
    try:
        value: Json = json.loads(text)
        if canonical_json(value) == text:
            return value
    except (ValueError, RecursionError) as error:
        raise AuditBodyError("the text is not JSON") from error
    raise AuditBodyError("the text is not canonical JSON")


def represent(value: Any) -> Json:  # noqa: ANN401 (a column may hold any Python value)
    """Return the lossless representation of a value for an audit body.

    Integers beyond ±(2**53 - 1), floats and decimals become their decimal text (a decimal without
    trailing zeros, so that 1.50 and 1.5 are the same), timestamps ISO 8601 with microseconds
    (aware ones in UTC with ``Z``), intervals ISO 8601 durations, bytes base64, enumeration members
    their names. A JSON value or a string outside the profile becomes ``{"$json": "<ASCII JSON>"}``.

    Raises:
        AuditBodyError: the type has no lossless representation.
    """
    if type(value) is str:
        return value if _UNFIT_TEXT.search(value) is None else represent_document(value)
    try:
        return _represent(value)
    except (OverflowError, RecursionError, ValueError) as error:
        raise AuditBodyError(
            f"a value of type {type(value).__qualname__} is too large, too deep or circular"
        ) from error


def _represent(value: Any) -> Json:  # noqa: ANN401
    if isinstance(value, enum.Enum):
        return value.name or _represent(value.value)  # a combination of flags may have no name
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, int):
        return int(value) if abs(value) <= MAX_INTEGER else str(int(value))
    if isinstance(value, Mapping | Sequence | AbstractSet) and not isinstance(
        value, bytes | bytearray | memoryview
    ):
        return _container(value)
    return _scalar(value)


def represent_json(value: Any) -> Json:  # noqa: ANN401
    """Return the representation of a JSON value; a float stays distinct from its decimal text.

    Raises:
        AuditBodyError: the value cannot be represented as JSON.
    """
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > MAX_INTEGER):
        return represent_document(value)
    return represent(value)


def timestamp(value: datetime) -> str:
    """Format an aware timestamp in UTC with microseconds and ``Z``.

    Raises:
        AuditBodyError: the timestamp is naive.
    """
    if value.tzinfo is None:
        raise AuditBodyError("timestamp without a time zone: pass an aware datetime")
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _is_plain(value: Json | Mapping[str, Json]) -> bool:
    """Check quickly that a value has only JSON types, ASCII keys and integers within the limit.

    It runs for every row. False is inconclusive. Strings are not checked here but in the encoded
    text (`_is_plain_text`).
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():  # type: ignore[union-attr]  # its type is dict
            if type(key) is not str or not key.isascii():
                return False
            if type(item) is not str and item is not None and not _is_plain(item):
                return False
        return True
    if kind is list:
        return all(map(_is_plain, value))  # type: ignore[arg-type]  # its type is list
    if kind is int:
        return -MAX_INTEGER <= value <= MAX_INTEGER  # type: ignore[operator]  # its type is int
    return kind is str or kind is bool or value is None


def _is_plain_text(text: str) -> bool:
    """Check that no string in an encoded value contains a NUL or a lone surrogate."""
    return "\\u0000" not in text and (text.isascii() or _UNFIT_TEXT.search(text) is None)


def _require_profile(value: Json | Mapping[str, Json]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not _is_profile_key(key):
                raise AuditBodyError(f"invalid key {key!r}: expected an ASCII string without NUL")
            _require_profile(item)
    elif isinstance(value, list):
        for item in value:
            _require_profile(item)
    elif not _is_profile_scalar(value):
        raise AuditBodyError(f"a value of type {type(value).__name__} is outside the body profile")


def _is_profile_key(key: object) -> bool:
    return isinstance(key, str) and key.isascii() and "\x00" not in key


def _is_profile_scalar(value: object) -> bool:
    if isinstance(value, str):
        return _UNFIT_TEXT.search(value) is None
    if isinstance(value, bool) or value is None:
        return True
    return isinstance(value, int) and abs(value) <= MAX_INTEGER


def _text(value: str) -> Json:
    return value if _UNFIT_TEXT.search(value) is None else represent_document(value)


def represent_document(value: Any) -> Json:  # noqa: ANN401
    """Represent a JSON value outside the profile by its text.

    >>> represent_document({"ratio": 1.5})
    {'$json': '{"ratio":1.5}'}
    """
    return {"$json": json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))}


def _container(value: Mapping[Any, Any] | Sequence[Any] | AbstractSet[Any]) -> Json:
    plain = _plain(value)
    return plain if _fits(plain) else represent_document(plain)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Convert containers to lists and dicts, keep JSON types, and represent all other values."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            return [[_plain(key), _plain(item)] for key, item in value.items()]
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_plain(item) for item in value), key=json.dumps)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | float) and not isinstance(value, enum.Enum):
        return value
    return _represent(value)


def _fits(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, dict):
        return all(
            _is_profile_key(key) and not key.startswith("$") and _fits(item)
            for key, item in value.items()
        )
    if isinstance(value, list):
        return all(map(_fits, value))
    return _is_profile_scalar(value)


def _scalar(value: Any) -> Json:  # noqa: ANN401, PLR0911 (one line per type)
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, datetime):
        return timestamp(value) if value.tzinfo else value.isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, uuid.UUID | _ADDRESSES):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _represent(dataclasses.asdict(value))
    raise AuditBodyError(
        f"a value of type {type(value).__qualname__} cannot be represented losslessly in an audit "
        "body: store it through a TypeDecorator, or exclude the column with Policy(exclude={...})"
    )


_ADDRESSES = (
    ipaddress.IPv4Address
    | ipaddress.IPv6Address
    | ipaddress.IPv4Network
    | ipaddress.IPv6Network
    | ipaddress.IPv4Interface
    | ipaddress.IPv6Interface
)


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        return str(value)
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def _duration(value: timedelta) -> str:
    sign = "-" if value < timedelta(0) else ""
    micros = abs(value) // _MICROSECOND
    days, rest = divmod(micros, 86_400_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    whole = f"{seconds}.{fraction:06d}".rstrip("0").rstrip(".") if fraction else str(seconds)
    return f"{sign}P{days}DT{whole}S"
