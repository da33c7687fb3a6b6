"""Reading of a request from a socket, with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gunicorn.http.unreader import SocketUnreader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import socket


class BoundedReader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's socket reader, with a deadline for reading one body.

    Attributes:
        deadline: the deadline on the monotonic clock. None while the head is parsed, which has
            arrived completely: its parser then finds the end of the stream.
        whole: whether the body has also arrived.
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
