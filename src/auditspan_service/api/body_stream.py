"""Request bodies as streams that raise an error if they end early."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest, RequestTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

_TRUNCATED = "The body ended before its Content-Length."
_MALFORMED = "The body could not be read."
_SLOW = "The body did not arrive in time."


class WholeBodies:
    """WSGI middleware that turns a truncated or malformed body into 400 (RFC 9112, section 8)."""

    def __init__(self, wsgi_app: WSGIApplication) -> None:
        self._wsgi_app = wsgi_app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        environ["wsgi.input"] = BodyStream(environ["wsgi.input"], _declared_length(environ))
        return self._wsgi_app(environ, start_response)


class BodyStream(io.RawIOBase):
    """Body that raises BadRequest if it ends early or cannot be read.

    The server's own exceptions quote the refused bytes, so they are not chained.
    """

    def __init__(self, stream: InputStream, length: int) -> None:
        super().__init__()
        self._stream = stream
        self._missing = length

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 (any writable buffer)
        """Read up to `len(buffer)` bytes into `buffer`."""
        data = self._read(len(buffer))
        if not data and len(buffer) and self._missing > 0:
            raise BadRequest(_TRUNCATED)
        buffer[: len(data)] = data
        self._missing -= len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.read(size)
        except TimeoutError:
            raise RequestTimeout(_SLOW) from None
        except Exception:  # noqa: BLE001 - each server has its own
            raise BadRequest(_MALFORMED) from None
        return data


def _declared_length(environ: WSGIEnvironment) -> int:
    text = environ.get("CONTENT_LENGTH", "")
    return int(text) if text.isascii() and text.isdigit() else 0
