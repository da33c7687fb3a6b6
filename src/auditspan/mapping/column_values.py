"""Conversion of stored values to the form of an audit body, by column type.

The values come from a row image, so they are the stored ones: for a `TypeDecorator`, the trail
records the value in the column, never the Python value, and values that Python cannot represent (an
infinite date, a year before Christ) are recorded as the database writes them. A stored value has
one recorded form, regardless of how it was written.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Dialect,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    Time,
    Uuid,
)
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.types import TypeDecorator, TypeEngine

from auditspan.format import (
    MAX_INTEGER,
    Json,
    Number,
    Pairs,
    document_text,
    parse_document,
    represent,
    represent_json,
)
from auditspan.storage.dialects import PerDialect

Raw: TypeAlias = Any
"""A value from `parse_image`: None, bool, str, bytes, `Number`, list, dict or `Pairs`."""

Convert: TypeAlias = Callable[[Raw], Json]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (SQLite's intervals are dates without a zone)
_MOMENT = re.compile(
    r"(?P<date>\d{4,}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,6}))?"
    r"(?P<zone>Z|\+00(?::00)?)?(?P<era> BC)?"
)
_TIME = re.compile(r"(\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:([+-]\d\d)(:\d\d(?::\d\d)?)?)?")
_DURATION = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?"
    r"(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?"
)
_HEX_UUID = re.compile(r"[0-9A-Fa-f]{32}")


def converter(type_: TypeEngine[Any], dialect: Dialect) -> Convert:
    """Return the function that converts stored values of this column type to values of a body.

    It takes a value from a row image of this database, and never fails for a value that the
    database can store.
    """
    kept = _impl(type_, dialect)
    if isinstance(kept, ARRAY):
        element = converter(kept.item_type, dialect)
        return lambda raw: _array(raw, element)
    converters = _CONVERTERS.of(dialect)
    found = next((convert for class_, convert in converters if isinstance(kept, class_)), None)
    if found is None:
        return _plain
    return _lenient(_numeric_of_scale if found is _numeric and _has_scale(kept) else found)


def _has_scale(type_: TypeEngine[Any]) -> bool:
    return isinstance(type_, Numeric) and type_.scale is not None


def _impl(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return the column's type in this database, without decorators and variants."""
    kept: TypeEngine[Any] = type_.dialect_impl(dialect)
    if isinstance(type_, Float) and isinstance(kept, Numeric):
        return type_  # psycopg implements floats with a Numeric
    if isinstance(kept, TypeDecorator) and not isinstance(kept, Interval):
        return _impl(kept.impl_instance, dialect)
    return kept


def _lenient(convert: Convert) -> Convert:
    def converted(raw: Raw) -> Json:
        if raw is None:
            return None
        try:
            return convert(raw)
        except (ValueError, ArithmeticError):  # on SQLite, a numeric column may hold text
            return _plain(raw)

    return converted


def _plain(raw: Raw) -> Json:
    """Convert a value without help from its column type: as the database writes it."""
    if type(raw) is str:
        return represent(raw)
    if type(raw) is Number:
        return _integer(raw) if _is_integer(raw) else _float(raw)
    return _json(raw) if isinstance(raw, list | dict) else represent(raw)


def _number(raw: Raw) -> str:
    """Return the text of a number; PostgreSQL images have NaN and infinities in quotes."""
    if type(raw) is Number or raw in {"NaN", "Infinity", "-Infinity"}:
        return str.__str__(raw)
    raise ValueError("expected a number")


def _text(raw: Raw) -> str:
    if type(raw) is not str:
        raise ValueError("expected text")
    return raw


def _is_integer(raw: Raw) -> bool:
    return type(raw) is Number and raw.lstrip("-").isdecimal()


def _integer(raw: Raw) -> Json:
    if type(raw) is not Number:
        raise ValueError("expected a number")
    value = int(raw)
    return value if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)


def _boolean(raw: Raw) -> Json:
    if isinstance(raw, bool):
        return represent(raw)
    if _number(raw) not in {"0", "1"}:
        raise ValueError("expected a boolean")
    return _number(raw) == "1"


def _float(raw: Raw) -> Json:
    return repr(float(_number(raw)))


def _sqlite_numeric(raw: Raw) -> Json:
    """Convert a double to its shortest decimal text; SQLite has no exact fractions."""
    text = _number(raw)
    return represent(Decimal(text) if _is_integer(raw) else Decimal(repr(float(text))))


def _numeric(raw: Raw) -> Json:
    text = _number(raw)
    exact = Decimal(text)
    # Without an exponent, and with the trailing zeros that the database stores.
    return format(exact, "f") if exact.is_finite() else text


def _numeric_of_scale(raw: Raw) -> Json:
    """Convert without trailing zeros: the column's scale is fixed, and SQLite stores none."""
    return represent(Decimal(_number(raw)))


def _moment(raw: Raw) -> Json:
    match = _MOMENT.fullmatch(_text(raw))
    if match is None:
        return represent(raw)  # infinity, -infinity, or text that is not a time
    fraction = (match["fraction"] or "").ljust(6, "0")
    zone = "Z" if match["zone"] else ""
    return f"{match['date']}T{match['time']}.{fraction}{zone}{match['era'] or ''}"


def _time(raw: Raw) -> Json:
    match = _TIME.fullmatch(_text(raw))
    if match is None:
        return represent(raw)
    time, fraction, hours, rest = match.groups()
    return f"{time}.{(fraction or '').ljust(6, '0')}{hours or ''}{(rest or ':00') if hours else ''}"


def _interval(raw: Raw) -> Json:
    """Convert to an ISO 8601 duration; months, days and seconds are not converted to each other."""
    text = _text(raw)
    match = _DURATION.fullmatch(text)
    if match is None:
        return represent(datetime.fromisoformat(text) - _EPOCH)  # SQLite's format
    years, months, days, hours, minutes = (int(part or 0) for part in match.groups()[:5])
    seconds = Decimal(match[6] or 0) + 60 * minutes + 3600 * hours
    if 12 * years + months:
        return f"P{12 * years + months}M{days}DT{represent(seconds)}S"
    return _signed(days, seconds)


def _signed(days: int, seconds: Decimal) -> str:
    """Format like a `timedelta`: with one leading sign if both parts are negative."""
    if days <= 0 and seconds <= 0 and (days or seconds):
        return f"-P{-days}DT{represent(-seconds)}S"
    return f"P{days}DT{represent(seconds)}S"


def _bytes(raw: Raw) -> Json:
    if isinstance(raw, str) and not isinstance(raw, Number) and raw.startswith("\\x"):
        return base64.b64encode(bytes.fromhex(raw[2:])).decode()
    return represent(_text(raw) if not isinstance(raw, bytes) else raw)


def _uuid(raw: Raw) -> Json:
    text = _text(raw)
    return str(uuid.UUID(text)) if _HEX_UUID.fullmatch(text) else represent(text)


def _json_text(raw: Raw) -> Json:
    """Convert a JSON document of SQLite, which stores it as text, or a lone number as a number."""
    return _json(raw if isinstance(raw, Number) else parse_document(_text(raw)))


def _json(raw: Raw) -> Json:
    """Convert a JSON document, with every number as the database writes it."""
    if _is_native(raw):
        return represent_json(_native(raw))
    return {"$json": document_text(raw)}


def _is_native(raw: Raw) -> bool:
    """Check whether Python's types represent the document losslessly."""
    if isinstance(raw, Number):
        return _is_integer(raw) and abs(int(raw)) <= MAX_INTEGER
    if isinstance(raw, Pairs):
        return False
    if isinstance(raw, dict):
        return all(map(_is_native, raw.values()))
    return not isinstance(raw, list) or all(map(_is_native, raw))


def _native(raw: Raw) -> Json:
    if isinstance(raw, dict):
        return {name: _native(item) for name, item in raw.items()}
    if isinstance(raw, list):
        return [_native(item) for item in raw]
    return int(raw) if isinstance(raw, Number) else raw


def _array(raw: Raw, element: Convert) -> Json:
    if isinstance(raw, list):
        return [_array(one, element) for one in raw]
    return element(raw)


_Converters: TypeAlias = tuple[tuple[type[TypeEngine[Any]], Convert], ...]

_COMMON: _Converters = (
    (Boolean, _boolean),
    (Integer, _integer),
    (Float, _float),
    (Numeric, _numeric),
    (Interval, _interval),
    (INTERVAL, _interval),
    (DateTime, _moment),
    (Date, represent),
    (Time, _time),
    (LargeBinary, _bytes),
    (Uuid, _uuid),
    (JSON, _json),
)
_CONVERTERS = PerDialect[_Converters](
    postgresql=_COMMON,
    sqlite=((JSON, _json_text), (Float, _float), (Numeric, _sqlite_numeric), *_COMMON),
)
"""The conversion of each column type; the first that matches applies."""
