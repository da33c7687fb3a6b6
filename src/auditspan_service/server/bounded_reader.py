"""Reading a request's bytes from a socket, for no longer than until a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gunicorn.http.unreader import SocketUnreader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import socket


class BoundedReader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's reader of a socket, with a deadline for all that is read of one body.

    Attributes:
        deadline: on the monotonic clock. None while the head is parsed, which has arrived as a
            whole: its parser finds the end of the stream behind it.
        whole: whether the body has arrived, too.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.deadline: float | None = None
        self.whole = False

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Read from the socket.

        Raises:
            TimeoutError: the deadline has passed.
        """
        if self.deadline is None:
            return b""
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        before = self.sock.gettimeout()
        self.sock.settimeout(remaining)
        try:
            data: bytes = super().chunk(size_hint)
        finally:
            self.sock.settimeout(before)
        return data
