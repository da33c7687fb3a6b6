"""Pages of lists, with a link to the next page (RFC 8288)."""

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
    """Return `{"items","next"}`; `rows` must hold one more than the limit if there are more."""
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    cursor = cursor_of(kind, page.filters, row_id(shown[-1])) if more else None
    response = jsonify({"items": [show(row) for row in shown], "next": cursor})
    if cursor:
        response.headers["Link"] = f'<{_with_cursor(cursor)}>; rel="next"'
    return response


def _with_cursor(cursor: str) -> str:
    # A relative reference: it must not repeat the client's Host header.
    return f"{request.path}?{urlencode({**request.args.to_dict(), 'cursor': cursor})}"
