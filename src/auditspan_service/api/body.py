"""Reading of the current request's body."""

from __future__ import annotations

import zlib

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from auditspan_service.api.problems import Problem
from auditspan_service.api.strict_json import StrictJsonError, parse

_GZIP = 16 + zlib.MAX_WBITS
"""The window of zlib for a gzip header and trailer."""

_READ_BY_VIEW = {"PATCH", "POST", "PUT"}
"""Methods whose views call `json_body`."""


def json_body(*media_types: str) -> object:
    """Parse the body as JSON; it may have one of these media types, or `application/json`.

    Call this before opening a unit of work: a slow client would keep its transaction open.

    Raises:
        Problem: the body is not acceptable JSON.
        UnsupportedMediaType: the content type is not an accepted one, or the body is encoded.
        RequestEntityTooLarge: the body is larger than `max_content_length`.
    """
    require_media_type("application/json", *media_types)
    data = _data()
    if _encoding() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding.")
    return strict_json(data)


def require_media_type(*accepted: str) -> None:
    """Refuse a body of any other media type.

    Raises:
        UnsupportedMediaType: the content type is not an accepted one.
    """
    if request.mimetype not in accepted:
        raise UnsupportedMediaType(f"Send the body with Content-Type: {' or '.join(accepted)}.")


def strict_json(data: bytes) -> object:
    """Parse a body as JSON.

    Raises:
        Problem: it is not acceptable JSON.
    """
    try:
        return parse(data)
    except StrictJsonError as error:
        raise Problem.of("malformed-body", str(error)) from None


def unpacked_body(*, factor: int) -> bytes:
    """Return the body, decompressed if it is gzip.

    Args:
        factor: the largest result, as a multiple of `max_content_length`.

    Raises:
        Problem: the body is not gzip, though its Content-Encoding says so.
        UnsupportedMediaType: the body has another Content-Encoding.
        RequestEntityTooLarge: the body, or what it unpacks to, is too large.
    """
    data, encoding = _data(), _encoding()
    if encoding == "identity":
        return data
    if encoding != "gzip":
        raise UnsupportedMediaType("Send the body without Content-Encoding, or with gzip.")
    return _gunzip(data, factor * (request.max_content_length or len(data)))


def _encoding() -> str:
    return request.headers.get("Content-Encoding", "identity").lower()


def _gunzip(data: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(wbits=_GZIP)
    try:
        unpacked = stream.decompress(data, limit + 1)
    except zlib.error:
        raise Problem.of("malformed-body", "The body is not gzip.") from None
    if len(unpacked) > limit:
        raise RequestEntityTooLarge
    if not stream.eof or stream.unused_data:
        raise Problem.of("malformed-body", "The body is not exactly one gzip member.")
    return unpacked


def require_whole_body() -> None:
    """Read a body that no view reads, so that a truncated request is not executed.

    Called after authentication, so that unauthenticated bodies are not waited for.

    Raises:
        BadRequest: the body ended before its Content-Length, or its chunks are malformed.
        RequestEntityTooLarge: the body is larger than `max_content_length`.
    """
    if request.method not in _READ_BY_VIEW and request.url_rule is not None:
        ignore_body()


def ignore_body() -> None:
    """Read a body without a meaning; a view of a PUT, PATCH or POST without a body MUST call this.

    Raises:
        BadRequest: the body ended before its Content-Length, or its chunks are malformed.
        RequestEntityTooLarge: the body is larger than `max_content_length`.
    """
    _data()


def _data() -> bytes:
    data = request.get_data(cache=False)
    limit = request.max_content_length
    # werkzeug silently truncates a body of undeclared length at the limit.
    if request.content_length is None and limit is not None and len(data) >= limit:
        raise RequestEntityTooLarge
    return data
