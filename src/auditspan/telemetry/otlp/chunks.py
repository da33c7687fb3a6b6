"""Chunks of a file of one-line exports, which are searched as text for trace ids.

A chunk ends between two exports that no reader joins, so it can be read by itself.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from typing import NamedTuple

from auditspan.telemetry.otlp.collector_files import UNPACKING_ERRORS, Stream
from auditspan.telemetry.otlp.documents import ESCAPED, LINE_LIMIT, OPENING

_TRACE_ID = re.compile(rb'"traceId"\s*+:\s*+"([0-9a-fA-F]{32})"')


class Part(NamedTuple):
    """Part of a file, as offsets of bytes; to the end of the file if `stop` is None."""

    start: int
    stop: int | None


WHOLE = (Part(0, None),)
"""All of a file."""


class Chunk(NamedTuple):
    """Part of a file with its text; without, if the text may have ids that a search misses."""

    start: int
    stop: int
    text: bytes | None

    @property
    def trace_ids(self) -> bytes | None:
        """The trace ids of 16 bytes, one after another; None if the chunk may have others."""
        if self.text is None:
            return None
        return bytes.fromhex(b"".join({*_TRACE_ID.findall(self.text)}).decode())

    def may_have(self, trace_id: str) -> bool:
        """Return whether a record of the trace, in lower case, may be in the chunk."""
        return self.text is None or trace_id.encode() in self.text.lower()


def lines_of(stream: Stream, part: Part) -> Iterator[bytes]:
    """Yield the lines of a part; one over `LINE_LIMIT` in pieces."""
    stream.seek(part.start)
    while line := stream.readline(_most(stream, part, LINE_LIMIT)):
        yield line


def chunks_in(stream: Stream, part: Part, *, size: int) -> Iterator[Chunk]:
    """Yield the chunks of part of an open file, each of `size` bytes or a little more.

    The offsets in a packed file are those of the unpacked text. If it cannot be unpacked to its
    end, the last chunk is empty and has no text.
    """
    start, last = part.start, b""
    chunk = None
    try:
        for block in _blocks(stream, part, size):
            if chunk is None or _may_end_between(last, block):
                yield from [chunk] if chunk else []
                chunk = Chunk(start, start + len(block), block if _is_plain(block) else None)
            else:
                chunk = Chunk(chunk.start, start + len(block), None)
            start, last = start + len(block), block
    except UNPACKING_ERRORS:
        chunk = Chunk(chunk.start if chunk else start, start, None)
    if chunk:
        yield chunk


def is_packed(stream: Stream) -> bool:
    """Return whether the file is compressed, so that parts of it cannot be found by offset."""
    return isinstance(stream, gzip.GzipFile)


def _blocks(stream: Stream, part: Part, size: int) -> Iterator[bytes]:
    """Yield whole lines, as many as `size` bytes have and the one that is begun."""
    stream.seek(part.start)
    while block := stream.read(_most(stream, part, size)):
        if not block.endswith(b"\n"):
            block += stream.readline(_most(stream, part, LINE_LIMIT))
        yield block


def _most(stream: Stream, part: Part, limit: int) -> int:
    return limit if part.stop is None else min(limit, part.stop - stream.tell())


def _may_end_between(before: bytes, after: bytes) -> bool:
    """Check whether a line and its successor are exports, which no reader joins."""
    last = before.rfind(b"\n", 0, -1) + 1
    return before.endswith(b"}\n") and bool(OPENING.match(before, last) and OPENING.match(after))


def _is_plain(block: bytes) -> bool:
    """Check that the text begins with an export, and has no escaped letters or digits."""
    return bool(OPENING.match(block)) and not (b"\\" in block and ESCAPED.search(block))
