"""Python values of recorded values, by column type.

A value is what a SELECT of the column would give: `Decimal`, `datetime`, an enumeration member, the
result of a `TypeDecorator`. A recorded form without an exact Python value (an infinite date, an
interval with months, a type of another library) is returned as it is.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    Column,
    Date,
    DateTime,
    Dialect,
    Enum,
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

from auditspan.format import Json, is_unknown
from auditspan.reading.replay import is_stand_in

_DURATION = re.compile(r"(-?)P(-?\d+)DT(-?\d+)(?:\.(\d{1,6}))?S")


@dataclass(frozen=True)
class Redacted:
    """Stand-in for a redacted value, which the trail does not have.

    Attributes:
        fingerprint: the keyed fingerprint of the value; None if the trail had no MAC key.
    """

    fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Digest:
    """Stand-in for a value over 16 KiB, which the trail does not have.

    Attributes:
        length: the length of the value in bytes: of the UTF-8 of a text, else of its JSON.
        sha256: the SHA-256 of the same bytes, in hexadecimal.
    """

    length: int
    sha256: str


@dataclass(frozen=True)
class Erased:
    """Stand-in for an erased value, or for an erasable one without the key to read it."""


Value = Any
"""A Python value of a column, or a list or dict with stand-ins among its members."""


def python_value(value: Json, type_: TypeEngine[Any] | None, dialect: Dialect) -> Value:
    """Return the Python value of a recorded value, or a stand-in for it.

    Args:
        value: the recorded value.
        type_: the type of its column; None for a column that the models no longer have.
        dialect: the dialect of the database.
    """
    stand_in = _stand_in(value)
    if stand_in is not None:
        return stand_in
    if type_ is None:
        return _revealed(value)
    try:
        return _converted(value, type_, dialect)
    except Exception:  # noqa: BLE001 (a decorator is code of the application)
        return _revealed(value)


def is_restorable(value: Value) -> bool:
    """Return whether a value is the one that was recorded, without a stand-in in it."""
    if isinstance(value, dict):
        return all(map(is_restorable, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_restorable, value))
    return not isinstance(value, Redacted | Digest | Erased)


def key_values(id_: str, columns: Sequence[Column[Any]], dialect: Dialect) -> list[Value]:
    """Return the Python values of the primary key that a target id names."""
    parts = [id_] if len(columns) == 1 else json.loads(id_)
    named = zip(parts, columns, strict=True)
    return [python_value(part, column.type, dialect) for part, column in named]


def _stand_in(value: Json) -> Redacted | Digest | Erased | None:
    """Return the stand-in that has exactly these members: those of a document may be similar."""
    if is_unknown(value):
        return Erased()
    if isinstance(value, dict) and value.keys() == {"$len", "$sha256"}:
        length, sha256 = value["$len"], value["$sha256"]
        return Digest(length=length, sha256=str(sha256)) if type(length) is int else None
    return _redacted(value)


def _redacted(value: Json) -> Redacted | None:
    if not is_stand_in(value):
        return None
    fingerprint = value.get("$fingerprint")
    return Redacted(fingerprint if isinstance(fingerprint, str) else None)


def _revealed(value: Json) -> Value:
    """Return a value without a known type: documents are parsed, stand-ins are made."""
    if isinstance(value, dict) and value.keys() == {"$json"}:
        return _members(json.loads(str(value["$json"])))  # only its members can be stand-ins
    return _stand_in(value) or _members(value)


def _members(value: Json) -> Value:
    """Return a document with stand-ins for its redacted members; no others are in documents."""
    if isinstance(value, dict):
        return {name: _redacted(item) or _members(item) for name, item in value.items()}
    return [_redacted(i) or _members(i) for i in value] if isinstance(value, list) else value


def _converted(value: Json, type_: TypeEngine[Any], dialect: Dialect) -> Value:
    kind = type_ if isinstance(type_, Float) else type_.dialect_impl(dialect)
    if isinstance(kind, TypeDecorator) and not isinstance(kind, Interval):
        inner = _converted(value, kind.impl_instance, dialect)
        decorates = type(kind).process_result_value is not TypeDecorator.process_result_value
        return kind.process_result_value(inner, dialect) if decorates else inner
    if value is None:
        return None
    if isinstance(kind, ARRAY):
        return _array(value, kind, dialect)
    if isinstance(kind, Enum):
        process = kind.result_processor(dialect, None)  # type: ignore[no-untyped-call]
        return process(value) if process else value
    found = next((convert for class_, convert in _CONVERTERS if isinstance(kind, class_)), None)
    return found(value, kind) if found else _revealed(value)


def _array(value: Json, kind: ARRAY[Any], dialect: Dialect) -> Value:
    if isinstance(value, list):
        return [_array(item, kind, dialect) for item in value]
    return python_value(value, kind.item_type, dialect)


def _number(value: str | float, kind: Numeric[Any]) -> Decimal | float:
    return Decimal(value) if kind.asdecimal else float(value)


def _duration(value: str, _kind: object) -> timedelta:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError("expected a duration of days and seconds")
    sign, days, seconds, fraction = match.groups()
    micros = int((fraction or "").ljust(6, "0"))
    if seconds.startswith("-"):
        micros = -micros
    found = timedelta(days=int(days), seconds=int(seconds), microseconds=micros)
    return -found if sign else found


def _uuid(value: str, kind: Uuid[Any]) -> uuid.UUID | str:
    return uuid.UUID(value) if kind.as_uuid else str(value)


_CONVERTERS: tuple[tuple[type[TypeEngine[Any]], Callable[[Any, Any], Value]], ...] = (
    (Integer, lambda value, _kind: int(value)),
    (Float, _number),
    (Numeric, _number),
    (Interval, _duration),
    (INTERVAL, _duration),
    (DateTime, lambda value, _kind: datetime.fromisoformat(value)),
    (Date, lambda value, _kind: date.fromisoformat(value)),
    (Time, lambda value, _kind: time.fromisoformat(value)),
    (LargeBinary, lambda value, _kind: base64.b64decode(value, validate=True)),
    (Uuid, _uuid),
    (JSON, lambda value, _kind: _revealed(value)),
)
