"""The body of the current request."""

from __future__ import annotations

from typing import Any

from flask import request
from werkzeug.exceptions import UnsupportedMediaType

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
        return parse(request.get_data(cache=False))
    except StrictJsonError as error:
        raise Problem.of("malformed-body", str(error)) from None
