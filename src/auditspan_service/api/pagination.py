"""One page of a list, with the way to the next (RFC 8288)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, jsonify, request

from auditspan_service.api.cursors import cursor_of
from auditspan_service.api.query import Page

_Row = TypeVar("_Row")


def page_response(
    rows: Sequence[_Row],
    page: Page,
    *,
    kind: str,
    row_id: Callable[[_Row], int],
    show: Callable[[_Row], dict[str, Any]],
) -> Response:
    """`{"items","next"}` of rows of which one more than the page's limit was asked for."""
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    cursor = cursor_of(kind, page.filters, row_id(shown[-1])) if more else None
    response = jsonify({"items": [show(row) for row in shown], "next": cursor})
    if cursor:
        response.headers["Link"] = f'<{_with_cursor(cursor)}>; rel="next"'
    return response


def _with_cursor(cursor: str) -> str:
    # A relative reference: what the client calls us is not for us to repeat.
    return f"{request.path}?{urlencode({**request.args.to_dict(), 'cursor': cursor})}"
