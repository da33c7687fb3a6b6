"""The query parameters of the current request, and the cursors in them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass

from flask import request

from auditspan_service.api.problems import Problem
from auditspan_service.models import MAX_ID

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_LENGTH = 512
"""Characters of a parameter."""

_CURSOR = re.compile(r"([a-z]+):([1-9][0-9]{0,18})")


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list is wanted: `limit` items behind the row `position`."""

    position: int | None
    limit: int


def parameters(known: Collection[str]) -> dict[str, str]:
    """The query parameters.

    Raises:
        Problem: one is unknown, given twice, too long or not printable.
    """
    for name, values in request.args.lists():
        if name not in known:
            raise _malformed(f"A parameter is unknown; the known ones are {', '.join(known)}.")
        if len(values) > 1:
            raise _malformed(f"{name} is given more than once.")
        if len(values[0]) > MAX_LENGTH or not values[0].isprintable() or not values[0]:
            raise _malformed(f"{name} must be 1 to {MAX_LENGTH} printable characters.")
    return request.args.to_dict()


def page(given: dict[str, str], kind: str) -> Page:
    """The page that `limit` and `cursor` ask for, of a list of this kind.

    Raises:
        Problem: one of them is malformed, or the cursor is one of another list.
    """
    cursor = given.get("cursor")
    limit = given.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise _malformed(f"limit must be a number from 1 to {MAX_LIMIT}.")
    return Page(position=_position(cursor, kind) if cursor else None, limit=int(limit))


def trace_id(given: dict[str, str]) -> str | None:
    """The trace id that is asked for, in lower case.

    Raises:
        Problem: it is no trace id.
    """
    text = given.get("trace_id")
    if text is not None and not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise _malformed("trace_id must be 32 hexadecimal digits.")
    return text.lower() if text else None


def cursor_of(kind: str, row_id: int) -> str:
    """The cursor that stands behind this row of a list."""
    return base64.urlsafe_b64encode(f"{kind}:{row_id}".encode()).decode().rstrip("=")


def _position(cursor: str, kind: str) -> int:
    match = _CURSOR.fullmatch(_decoded(cursor))
    if match is None or match[1] != kind or int(match[2]) > MAX_ID:
        raise _malformed("cursor is not one of this list; take it from `next` as it stands there.")
    return int(match[2])


def _decoded(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def _malformed(detail: str) -> Problem:
    return Problem.of("malformed-query", detail)
