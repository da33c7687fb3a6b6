"""The bytes of one HTTP/1 request as they arrive, before a thread serves it.

They are inspected only for scheduling: the server's own parser reads the same bytes again and
decides what they mean.
"""

from __future__ import annotations

import re
from enum import Enum, auto

HEAD_BYTES = 64 * 1024
BODY_BYTES = 64 * 1024
"""The largest body that is buffered in memory before a thread serves its request."""

_END = b"\r\n\r\n"
_LENGTH = re.compile(
    rb"^content-length:[ \t]*([0-9]{1,19})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_CHUNKED = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE)
_EXPECT = re.compile(rb"^expect:", re.IGNORECASE | re.MULTILINE)


class Phase(Enum):
    """Received part of a request."""

    HEAD = auto()
    """A part of the head."""
    BODY = auto()
    """The head, and a part of a body that is buffered."""
    OPEN = auto()
    """The head, and a part of a body that is not buffered: too large, or the client waits."""
    WHOLE = auto()
    """The head and the body."""
    TOO_LARGE = auto()
    """A head that exceeds the limit."""


class Arrival:
    """Bytes of a request that have arrived.

    Attributes:
        data: the bytes, possibly including those of a following request.
        phase: the part of the request that they make up.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray()
        self.phase = Phase.HEAD
        self._searched = 0
        self._end = 0  # of the head
        self._length: int | None = 0  # of the body; None if it is chunked
        self.add(data)

    def add(self, data: bytes) -> None:
        """Append these bytes and determine the phase."""
        self.data += data
        if self.phase is Phase.HEAD:
            self._look_for_head()
        if self.phase is Phase.BODY:
            self._look_for_body()

    def _look_for_head(self) -> None:
        end = self.data.find(_END, self._searched)
        self._searched = max(0, len(self.data) - len(_END) + 1)
        if end >= 0:
            self._end = self._searched = end + len(_END)
            self._read_head(bytes(self.data[:end]))
        elif len(self.data) > HEAD_BYTES:
            self.phase = Phase.TOO_LARGE

    def _read_head(self, head: bytes) -> None:
        length = _LENGTH.search(head)
        chunked = _CHUNKED.search(head) is not None
        self._length = None if chunked else int(length[1]) if length else 0
        waits = _EXPECT.search(head) is not None
        large = (self._length or 0) > BODY_BYTES
        self.phase = Phase.OPEN if large or (waits and self._length != 0) else Phase.BODY

    def _look_for_body(self) -> None:
        if self._has_body():
            self.phase = Phase.WHOLE
        elif len(self.data) - self._end > BODY_BYTES:
            self.phase = Phase.OPEN

    def _has_body(self) -> bool:
        if self._length is not None:
            return len(self.data) - self._end >= self._length
        # A chunked body ends with an empty line. One in the middle only ends the wait early.
        start = max(self._end, self._searched - len(_END) + 1)
        self._searched = len(self.data)
        return self.data.find(_END, start) >= 0
