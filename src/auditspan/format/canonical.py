"""Canonical JSON (RFC 8785) in the profile of the audit body, and the way of any value into it.

The profile: keys are ASCII and do not begin with ``$`` unless auditspan put them there; values are
strings without NUL or lone surrogates, true, false, null, integers within ±(2**53 - 1), arrays and
objects. What lies outside is represented losslessly as a string or refused, never altered silently.
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
"""The largest integer that every JSON reader keeps exactly (RFC 8785 §3.2.2.3)."""

_UNFIT_TEXT = re.compile("[\x00\ud800-\udfff]")
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
_quote = json.encoder.encode_basestring
_MICROSECOND = timedelta(microseconds=1)


def canonical_json(value: Json | Mapping[str, Json]) -> str:
    """The one RFC 8785 text of a value that is within the profile.

    Raises:
        AuditBodyError: the value is outside the profile; `represent` brings it in.
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        _require_profile(value)
        raise
    if not _is_plain(value) or not _is_plain_text(text):
        _require_profile(value)  # says what is wrong, where something is
    return text


def canonical_scalar(value: Json) -> str:
    """As `canonical_json`, and quicker for a text, an integer, true, false and null.

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
    """As `canonical_json`, and remembered: for what record after record has in common.

    Raises:
        AuditBodyError: the text is outside the profile.
    """
    return canonical_scalar(word)


@lru_cache(maxsize=4096)
def canonical_key(name: str) -> str:
    """The text of a member's name, remembered.

    Raises:
        AuditBodyError: the name is outside the profile.
    """
    return canonical_json({name: None}).removeprefix("{").removesuffix(":null}")


def parse_canonical(text: str) -> Json:
    """The value of a text that is the canonical text of it.

    Raises:
        AuditBodyError: the text is none.
    """
    try:
        value: Json = json.loads(text)
        if canonical_json(value) == text:
            return value
    except (ValueError, RecursionError) as error:
        raise AuditBodyError("the text is not JSON") from error
    raise AuditBodyError("the text is not the canonical text of what it says")


def represent(value: Any) -> Json:  # noqa: ANN401 (any Python value may stand in a column)
    """The value as it stands in an audit body, without loss.

    Integers beyond ±(2**53 - 1), floats and decimals become their decimal text (a decimal without
    trailing zeros, so that 1.50 and 1.5 are the same), timestamps ISO 8601 with microseconds
    (aware ones in UTC with ``Z``), intervals ISO 8601 durations, bytes base64, enumeration members
    their names. A JSON value or a text outside the profile becomes ``{"$json": "<ASCII JSON>"}``.

    Raises:
        AuditBodyError: there is no lossless form for this type.
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
    """A JSON value as it stands in a body: a number with a fraction is not the text of it.

    Raises:
        AuditBodyError: it is no JSON value.
    """
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > MAX_INTEGER):
        return represent_document(value)
    return represent(value)


def timestamp(value: datetime) -> str:
    """An aware timestamp in UTC with microseconds and ``Z``.

    Raises:
        AuditBodyError: it is not aware.
    """
    if value.tzinfo is None:
        raise AuditBodyError("a timestamp without a time zone names no instant")
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _is_plain(value: Json | Mapping[str, Json]) -> bool:
    """Whether the value is made of JSON's own types with ASCII keys and fitting integers.

    Quick, since it runs for every row; False says nothing. Strings are not looked into: what is
    wrong with one shows in the text (`_is_plain_text`).
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
    """Whether no string in the text of a value can hold a NUL or a lone surrogate."""
    return "\\u0000" not in text and (text.isascii() or _UNFIT_TEXT.search(text) is None)


def _require_profile(value: Json | Mapping[str, Json]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not _is_profile_key(key):
                raise AuditBodyError(f"the key {key!r} is not an ASCII string without NUL")
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
    """A JSON value that a body cannot hold as it is: the text of it.

    >>> represent_document({"ratio": 1.5})
    {'$json': '{"ratio":1.5}'}
    """
    return {"$json": json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))}


def _container(value: Mapping[Any, Any] | Sequence[Any] | AbstractSet[Any]) -> Json:
    plain = _plain(value)
    return plain if _fits(plain) else represent_document(plain)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Containers as lists and dicts; what JSON itself knows stays, all else is represented."""
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
        f"a value of type {type(value).__qualname__} has no lossless form in an audit body: store "
        "it through a TypeDecorator, or leave the column out with Policy(exclude={...})"
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
