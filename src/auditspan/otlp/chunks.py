"""Chunks of a file of one-line exports, each with its trace ids.

A chunk ends between two exports that no reader joins, so it can be read by itself.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from auditspan.otlp.collector_files import UNPACKING_ERRORS, Stream
from auditspan.otlp.documents import ESCAPED, LINE_LIMIT, OPENING

_TRACE_ID = re.compile(rb'"traceId"\s*+:\s*+"([0-9a-fA-F]{32})"')


class Part(NamedTuple):
    """Part of a file, as offsets of bytes; to the end of the file if `stop` is None."""

    start: int
    stop: int | None


WHOLE = (Part(0, None),)
"""All of a file."""


@dataclass(kw_only=True)
class Chunk:
    """Part of a file.

    Attributes:
        start: its offset.
        size: its size in bytes.
        is_plain: whether it contains only exports on lines of their own, without escaped letters or
            digits. Otherwise its ids may be incomplete.
    """

    start: int
    size: int = 0
    is_plain: bool = True
    _ids: set[bytes] = field(default_factory=set)
    _ends_with_export: bool = False

    @property
    def stop(self) -> int:
        """The offset of its end."""
        return self.start + self.size

    @property
    def trace_ids(self) -> bytes | None:
        """The trace ids of 16 bytes, one after another; None if the chunk may have others."""
        ids = {bytes.fromhex(one.decode()) for one in self._ids}
        return b"".join(ids) if self.is_plain else None

    def add(self, line: bytes) -> None:
        """Add a line, and its trace ids."""
        is_export = bool(OPENING.match(line))
        self.size += len(line)
        self._ids.update(_TRACE_ID.findall(line))
        self.is_plain = self.is_plain and is_export and not ESCAPED.search(line)
        self._ends_with_export = is_export and line.endswith(b"}\n")

    def may_end_before(self, line: bytes) -> bool:
        """Return whether the line begins an export that no reader joins to the chunk."""
        return self._ends_with_export and bool(OPENING.match(line))


def lines_of(stream: Stream, part: Part) -> Iterator[bytes]:
    """Yield the lines of a part; one over `LINE_LIMIT` in pieces."""
    stream.seek(part.start)
    while line := stream.readline(_most(stream, part)):
        yield line


def _most(stream: Stream, part: Part) -> int:
    return LINE_LIMIT if part.stop is None else min(LINE_LIMIT, part.stop - stream.tell())


def chunks_in(stream: Stream, *, start: int, stop: int, size: int) -> Iterator[Chunk]:
    """Yield the chunks between two offsets of an open file, each of `size` bytes or a little more.

    A packed file is one chunk. If it cannot be unpacked to its end, its ids may be incomplete.
    """
    if not isinstance(stream, gzip.GzipFile):
        yield from _chunks_of(lines_of(stream, Part(start, stop)), start=start, size=size)
        return
    whole = Chunk(start=0)
    try:
        for line in lines_of(stream, WHOLE[0]):
            whole.add(line)
    except UNPACKING_ERRORS:
        whole.is_plain = False
    whole.size = stop
    yield whole


def _chunks_of(lines: Iterable[bytes], *, start: int, size: int) -> Iterator[Chunk]:
    chunk = Chunk(start=start)
    for line in lines:
        if chunk.size >= size and chunk.may_end_before(line):
            yield chunk
            chunk = Chunk(start=chunk.stop)
        chunk.add(line)
    if chunk.size:
        yield chunk
