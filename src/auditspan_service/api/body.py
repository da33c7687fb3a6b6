"""The body of the current request."""

from __future__ import annotations

from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from auditspan_service.api.problems import Problem
from auditspan_service.api.strict_json import StrictJsonError, parse

_READ_BY_VIEW = {"PATCH", "POST"}
"""Methods whose views call `json_body`."""


def json_body(*media_types: str) -> Any:  # noqa: ANN401 (any JSON value)
    """The body as JSON; besides `application/json` it may have one of these media types.

    Read this before a unit of work is opened: a slow client would keep its transaction open.

    Raises:
        Problem: it is no acceptable JSON.
        UnsupportedMediaType: it does not say that it is JSON.
        RequestEntityTooLarge: it is larger than `max_content_length`.
    """
    accepted = ("application/json", *media_types)
    if request.mimetype not in accepted:
        raise UnsupportedMediaType(f"Send the body with Content-Type: {' or '.join(accepted)}.")
    try:
        return parse(_data())
    except StrictJsonError as error:
        raise Problem.of("malformed-body", str(error)) from None


def require_whole_body() -> None:
    """Read a body that nothing else reads, so that a request without its end is not executed.

    Called after the caller is known: a stranger's body is not waited for.

    Raises:
        BadRequest: the body ended before its Content-Length, or its chunks are malformed.
        RequestEntityTooLarge: it is larger than `max_content_length`.
    """
    if request.method not in _READ_BY_VIEW and request.url_rule is not None:
        _data()


def _data() -> bytes:
    data = request.get_data(cache=False)
    limit = request.max_content_length
    # werkzeug cuts a body of undeclared length off at the limit, and says nothing.
    if request.content_length is None and limit is not None and len(data) >= limit:
        raise RequestEntityTooLarge
    return data
