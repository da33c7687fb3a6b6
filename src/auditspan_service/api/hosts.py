"""The Host header that every HTTP/1.1 request must have (RFC 9112, section 3.2)."""

from __future__ import annotations

import re

from flask import request
from werkzeug.exceptions import BadRequest

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+;=-]+)(?::[0-9]*)?")
"""A name or an address with an optional port; no commas, which join repeated headers."""


def require_host() -> None:
    """Refuse an HTTP/1.1 request without a Host header, or with more than one.

    Raises:
        BadRequest: there is not exactly one valid Host header.
    """
    host = request.environ.get("HTTP_HOST")
    if host is None and request.environ.get("SERVER_PROTOCOL") in {"HTTP/0.9", "HTTP/1.0"}:
        return
    if host is None or not _HOST.fullmatch(host):
        raise BadRequest("Send exactly one valid Host header.")
