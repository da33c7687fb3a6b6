"""Bounded reading of collectors' responses: no more than an acknowledgement can need."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

MAX_BYTES = 256 * 1024
"""The largest body that is read, compressed or decompressed."""

_EITHER_FORMAT = 47
"""`wbits` of zlib that accepts gzip and deflate, detected by their first bytes."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP response.

    Attributes:
        status: the status code.
        headers: the headers by name, case-insensitive.
        data: the decompressed body, or its beginning.
        is_whole: whether `data` is the whole body.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes
    is_whole: bool


def read_answer(response: urllib3.BaseHTTPResponse) -> Answer:
    """Read a response that was requested with `preload_content=False`, and release it.

    Raises:
        urllib3.exceptions.HTTPError: the body ended early, or took too long.
    """
    raw = response.read(MAX_BYTES + 1, decode_content=False)
    if len(raw) > MAX_BYTES:
        response.close()
    else:
        response.read(1, decode_content=False)  # raises if the body ended early
    response.release_conn()
    data = _unpack(raw[:MAX_BYTES], response.headers.get("Content-Encoding", ""))
    return Answer(
        status=response.status,
        headers=response.headers,
        data=(data or b"")[:MAX_BYTES],
        is_whole=len(raw) <= MAX_BYTES and data is not None and len(data) <= MAX_BYTES,
    )


def _unpack(raw: bytes, encoding: str) -> bytes | None:
    """Return the decompressed body, at most one byte beyond the limit; None if that fails."""
    match encoding.strip().lower() if raw else "":
        case "" | "identity":
            return raw
        case "gzip" | "x-gzip" | "deflate":
            return _inflate(raw)
    return None


def _inflate(raw: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(_EITHER_FORMAT)
    try:
        data = unpacker.decompress(raw, MAX_BYTES + 1)
    except zlib.error:
        return None
    return data if unpacker.eof or len(data) > MAX_BYTES else None
