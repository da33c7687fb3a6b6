"""The query parameters of the current request."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from flask import request

from auditspan.format import parse_time
from auditspan_service.api.auth import tenant
from auditspan_service.api.cursors import position_of
from auditspan_service.api.problems import Problem

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_LENGTH = 512
"""The maximum number of characters in a parameter."""

_SHOWN = 32
"""The characters of an unknown parameter's name that a message repeats."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Requested page of a list: `limit` items after the row `position`.

    Attributes:
        position: the row, or None for the first page.
        limit: the maximum number of items.
        filters: the filters of the list, to which a cursor is bound.
    """

    position: int | None
    limit: int
    filters: Mapping[str, str]


def parameters(known: Collection[str]) -> dict[str, str]:
    """Return the query parameters.

    Raises:
        Problem: one is unknown, given twice, empty, too long or not printable.
    """
    for name, values in request.args.lists():
        if name not in known:
            expected = f"expected one of {', '.join(known)}" if known else "this route takes none"
            raise malformed(f"Unknown parameter {name[:_SHOWN]!r}: {expected}.")
        if len(values) > 1:
            raise malformed(f"{name} is given more than once.")
        if len(values[0]) > MAX_LENGTH or not values[0].isprintable() or not values[0]:
            raise malformed(f"{name} must be 1 to {MAX_LENGTH} printable characters.")
    return request.args.to_dict()


def page(given: dict[str, str], kind: str) -> Page:
    """Return the page that `limit` and `cursor` request, of a list of this kind.

    Raises:
        Problem: one of them is malformed, or the cursor is for another list or other filters.
    """
    cursor = given.get("cursor")
    limit = given.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise malformed(f"limit must be a number from 1 to {MAX_LIMIT}.")
    filters = {name: given[name] for name in given if name not in {"limit", "cursor"}}
    if trace := trace_id(given):
        filters["trace_id"] = trace
    if own := tenant():
        filters["@tenant"] = own  # a cursor of one tenant is not one of another
    position = _position(cursor, kind, filters) if cursor else None
    return Page(position=position, limit=int(limit), filters=filters)


def trace_id(given: Mapping[str, str]) -> str | None:
    """Return the requested trace id in lower case.

    Raises:
        Problem: the trace id is invalid.
    """
    text = given.get("trace_id")
    if text is not None and not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise malformed("trace_id must be 32 hexadecimal digits.")
    return text.lower() if text else None


def _position(cursor: str, kind: str, filters: Mapping[str, str]) -> int:
    position = position_of(cursor, kind, filters)
    if position is None:
        raise malformed(
            "cursor does not match this list and these filters: copy it unchanged from `next`, "
            "and repeat the filters."
        )
    return position


def time(name: str, text: str) -> datetime:
    """Return the time that a parameter gives, in UTC where it has no zone.

    Raises:
        Problem: this is not a time (ISO 8601).
    """
    try:
        return parse_time(text)
    except ValueError as error:
        raise malformed(f"{name} must be a time (ISO 8601), as in 2026-01-31T12:00:00Z.") from error


def malformed(detail: str) -> Problem:
    """Return the problem of a query that is not understood."""
    return Problem.of("malformed-query", detail)
