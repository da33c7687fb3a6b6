"""A value as its column keeps it, so that 1 in a boolean column and True are the same."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import JSON, Boolean, Float, Numeric
from sqlalchemy.types import TypeEngine

from auditspan.canonical import Json, represent, represent_json


def as_kept(column_type: TypeEngine[Any], value: Any) -> Json:  # noqa: ANN401
    """The form in an audit body of a Python value in a column of this type.

    Raises:
        AuditBodyError: it has no lossless form.
    """
    if value is None:
        return None
    if isinstance(column_type, JSON):
        return represent_json(_as_json(value))
    if isinstance(column_type, Boolean) and isinstance(value, int):
        return bool(value)
    if isinstance(column_type, Float) and isinstance(value, int | float | Decimal):
        return represent(float(value))
    if isinstance(column_type, Numeric) and isinstance(value, int | float | Decimal):
        return represent(_rounded(column_type, value))
    return represent(value)


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
