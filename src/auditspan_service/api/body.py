"""The body of the current request."""

from __future__ import annotations

from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from auditspan_service.api.problems import Problem
from auditspan_service.api.strict_json import StrictJsonError, parse


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


def _data() -> bytes:
    data = request.get_data(cache=False)
    limit = request.max_content_length
    # werkzeug cuts a body of undeclared length off at the limit, and says nothing.
    if request.content_length is None and limit is not None and len(data) >= limit:
        raise RequestEntityTooLarge
    return data
