"""A value as its column keeps it, so that 1 in a boolean column and True are the same."""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, TypeGuard

from sqlalchemy import JSON, BigInteger, Boolean, DateTime, Float, Integer, Numeric, SmallInteger
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from auditspan.canonical import MAX_INTEGER, Json, represent, represent_json, timestamp

_ADDRESSES = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
_AS_TEXT = (Range, *_ADDRESSES)
_NUMBERS_AND_TEXTS = (str, int, float, bytes, Decimal, uuid.UUID, enum.Enum)
_KNOWN = (*_NUMBERS_AND_TEXTS, date, time, timedelta, Mapping, AbstractSet)
_DIALECT = DefaultDialect()
"""For types that ask which database they bind for; those that need a real one must say so."""


def _integer(value: int) -> Json:
    return value if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)


def _time(value: datetime) -> Json:
    return timestamp(value) if value.tzinfo else value.isoformat(timespec="microseconds")


_QUICK: dict[tuple[type, type], Callable[[Any], Json]] = {
    (Integer, int): _integer,
    (BigInteger, int): _integer,
    (SmallInteger, int): _integer,
    (Boolean, bool): bool,
    (DateTime, datetime): _time,
}
"""The commonest pairs of a column's and a value's type, of which `represent` says the same."""


def as_kept(column_type: TypeEngine[Any], value: Any) -> Json:  # noqa: ANN401
    """The form in an audit body of a Python value in a column of this type.

    Raises:
        AuditBodyError: it has no lossless form.
    """
    if value is None:
        return None
    if type(value) is str:  # a column of any type keeps it as it is
        return represent(value)
    quick = _QUICK.get((type(column_type), type(value)))
    return quick(value) if quick else _kept(column_type, value)


def _kept(column_type: TypeEngine[Any], value: Any) -> Json:  # noqa: ANN401
    if isinstance(column_type, JSON):
        return represent_json(_as_json(value))
    if isinstance(column_type, Boolean) and isinstance(value, int):
        return bool(value)
    if isinstance(column_type, Float) and isinstance(value, int | float | Decimal):
        return represent(float(value))
    if isinstance(column_type, Numeric) and isinstance(value, int | float | Decimal):
        return represent(_rounded(column_type, value))
    return represent(_as_stored(column_type, value))


def _as_stored(column_type: TypeEngine[Any], value: Any) -> Any:  # noqa: ANN401
    """The value in types that a body knows: what the database holds of it where it is a custom one.

    Ranges and network addresses have a text that the database reads back as the same value.
    """
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, list):
        return [_as_stored(column_type, item) for item in value]
    if _binds_itself(column_type) and not isinstance(value, _KNOWN):
        stored = column_type.process_bind_param(value, _DIALECT)
        return value if stored is value else _as_stored(column_type.impl_instance, stored)
    return value


def _binds_itself(column_type: TypeEngine[Any]) -> TypeGuard[TypeDecorator[Any]]:
    own = getattr(type(column_type), "process_bind_param", None)
    return isinstance(column_type, TypeDecorator) and own is not TypeDecorator.process_bind_param


def _as_json(value: Any) -> Any:  # noqa: ANN401
    """Tuples as arrays and numbers as keys in quotes, as the driver writes them."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return value  # the column has a serializer of its own


def _rounded(column_type: Numeric[Any], value: float | Decimal) -> Decimal:
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    if column_type.scale is None or not exact.is_finite():
        return exact
    return exact.quantize(Decimal(1).scaleb(-column_type.scale), rounding=ROUND_HALF_UP)
