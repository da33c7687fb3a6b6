"""Conversion of Python values to the profile of audit bodies, losslessly or not at all."""

from __future__ import annotations

import base64
import dataclasses
import enum
import ipaddress
import json
import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import (
    MAX_INTEGER,
    Json,
    is_fit,
    is_profile_key,
    is_profile_scalar,
)

_MICROSECOND = timedelta(microseconds=1)


def represent(value: object) -> Json:
    """Return the lossless representation of a value for an audit body.

    Integers beyond ±(2**53 - 1), floats and decimals become their decimal text (a decimal without
    trailing zeros, so that 1.50 and 1.5 are the same), timestamps ISO 8601 with microseconds
    (aware ones in UTC with ``Z``), intervals ISO 8601 durations, bytes base64, enumeration members
    their names. A JSON value or a string outside the profile becomes ``{"$json": "<ASCII JSON>"}``.

    Raises:
        AuditBodyError: the type has no lossless representation.
    """
    if type(value) is str:
        return value if is_fit(value) else represent_document(value)
    try:
        return _represent(value)
    except (OverflowError, RecursionError, ValueError) as error:
        raise AuditBodyError(
            f"a value of type {type(value).__qualname__} is too large, too deep or circular"
        ) from error


def _represent(value: object) -> Json:
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


def represent_json(value: object) -> Json:
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


def _text(value: str) -> Json:
    return value if is_fit(value) else represent_document(value)


def represent_document(value: object) -> Json:
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


def _fits(value: object) -> bool:
    if isinstance(value, dict):
        return all(
            is_profile_key(key) and key.isascii() and not key.startswith("$") and _fits(item)
            for key, item in value.items()
        )
    if isinstance(value, list):
        return all(map(_fits, value))
    return is_profile_scalar(value)


def _scalar(value: object) -> Json:  # noqa: PLR0911 (one line per type)
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
