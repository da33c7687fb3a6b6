"""Spans and log records read back from files of OTLP JSON lines.

Both writers are read: the collector's file exporter and the SDK's
`opentelemetry-exporter-otlp-json-file`. A line is one export, `{"resourceSpans":[…]}`,
`{"resourceLogs":[…]}` or `{"resourceMetrics":[…]}`.

The writer may have been killed, or its disk may have been full, in the middle of a line; the next
export then stands right behind the torn one. Every complete export is found all the same, and what
was left out is counted in a `Damage`. Files may be packed with gzip, and documents may be laid out
over several lines; a file of another format is an error that names the format.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from auditspan.otlp.collector_files import UNPACKING_ERRORS, foreign_format, open_files, translated
from auditspan.otlp.decode import (
    LOGS,
    SPANS,
    LogEntry,
    MalformedError,
    SpanEvent,
    SpanLink,
    SpanRecord,
)
from auditspan.otlp.documents import OPENING, Documents, Line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from gzip import GzipFile
    from io import BufferedReader

    from auditspan.otlp.decode import R, Signal

__all__ = ["Damage", "LogEntry", "SpanEvent", "SpanLink", "SpanRecord", "read_logs", "read_spans"]

_log = logging.getLogger(__name__)
_ESCAPED = re.compile(rb"\\u00(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])")
"""A letter or a digit that is written as an escape, which no writer needs to."""

_LINE_LIMIT = 64 * 1024 * 1024
"""Bytes. The collector takes requests of 20 MiB; a longer line is damaged, and read in pieces."""


@dataclass(frozen=True, kw_only=True)
class DamagedPiece:
    """Where something was left out, and why; never what it said."""

    file: Path
    line_offset: int  # bytes from the start of the (unpacked) file to the start of the line
    reason: str
    unfinished: bool  # the file ends here without a newline: it may still be being written


@dataclass(kw_only=True)
class Damage:
    """What a reader left out; hand one in, and look at it when the reader is exhausted.

    A piece is a stretch of a line that belongs to no complete export; it ends where a complete
    export begins or another torn one shows its opening. (Where two torn ones meet and the second is
    shorter than its opening, no reader can tell that there were two.) An export or a record that is
    complete JSON but not OTLP is a piece as well.
    """

    KEPT: ClassVar[int] = 100

    pieces: int = 0
    places: list[DamagedPiece] = field(default_factory=list)  # the first KEPT of them

    def note(self, piece: DamagedPiece) -> None:
        """Count a piece."""
        self.pieces += 1
        if len(self.places) < self.KEPT:
            self.places.append(piece)


def read_spans(
    path: Path | str, *, trace_id: str | None = None, damage: Damage | None = None
) -> Iterator[SpanRecord]:
    """The spans in a file, or in the files of a directory; see `read_logs` for what is promised."""
    return _read(Path(path), SPANS, trace_id, damage)


def read_logs(
    path: Path | str, *, trace_id: str | None = None, damage: Damage | None = None
) -> Iterator[LogEntry]:
    """The log records in a file, or in the files of a directory, in the order they were written.

    Of a directory, the `*.jsonl` files in it and in its `audit` and `telemetry` are read, rotated
    (`audit.jsonl.1`) and packed ones (`audit.jsonl.1.gz`) too: each stem (`audit`, `logs` …) from
    its oldest file to the live one, each file once even when the writer rotates meanwhile. Memory
    does not grow with the files. What is appended to a live file while it is read may or may not be
    seen. A record that was written twice comes twice.

    Args:
        path: a file, or a directory such as the collector's data directory.
        trace_id: only the records of this trace. Other lines are passed over unparsed, which is
            many times faster; their damage is not counted.
        damage: counts what had to be left out. Without one, a warning is logged at the end.
            Lines of another signal are passed over, so each reader counts its own damage.

    Raises:
        CollectorFilesError: there is no such file or directory, or it may not be read, or it is not
            OTLP JSON. The first is raised by this call, the others possibly while iterating.
    """
    return _read(Path(path), LOGS, trace_id, damage)


def _read(
    path: Path, signal: Signal[R], trace_id: str | None, damage: Damage | None
) -> Iterator[R]:
    with translated(path):
        path.stat()
    if damage is None:
        return _warning_of_damage(path, signal, trace_id)
    return _records(path, signal, trace_id, damage)


def _warning_of_damage(path: Path, signal: Signal[R], trace_id: str | None) -> Iterator[R]:
    damage = Damage()
    try:
        yield from _records(path, signal, trace_id, damage)
    finally:
        if damage.pieces:
            _log.warning("%d damaged pieces left out: %s", damage.pieces, damage.places[0])


def _records(path: Path, signal: Signal[R], trace_id: str | None, damage: Damage) -> Iterator[R]:
    wanted = (trace_id or "").lower()
    for file, stream in open_files(path):
        documents = Documents(is_unwanted=_Unwanted(signal.top, wanted))
        for line, export in documents.read(_lines(file, stream, damage)):
            for record in _decoded(export, signal, line, damage):
                if not wanted or record.trace_id == wanted:
                    yield record
        if (name := documents.foreign_format()) is not None:
            raise foreign_format(file, name)


class _Unwanted:
    """Whether a document is all of another signal or another trace, told from its raw text.

    Ids may be written in capitals, and any character as an escape: a document with an escaped
    letter or digit is always wanted.
    """

    def __init__(self, top: str, trace_id: str) -> None:
        self._top, self._trace_id = f'"{top}"'.encode(), trace_id.encode()

    def __call__(self, content: bytes) -> bool:
        if not OPENING.match(content) or _ESCAPED.search(content):
            return False
        return self._top not in content or self._trace_id not in content.lower()


def _decoded(export: object, signal: Signal[R], line: Line, damage: Damage) -> Iterator[R]:
    if export is None:
        damage.note(_damaged(line, "not a complete export"))
        return
    try:
        for record in signal.read(export):
            if isinstance(record, MalformedError):
                damage.note(_damaged(line, str(record)))
            else:
                yield record
    except MalformedError as error:
        damage.note(_damaged(line, str(error)))


def _damaged(line: Line, reason: str) -> DamagedPiece:
    torn = not line.content.endswith(b"\n")
    return DamagedPiece(file=line.file, line_offset=line.offset, reason=reason, unfinished=torn)


def _lines(file: Path, stream: BufferedReader | GzipFile, damage: Damage) -> Iterator[Line]:
    offset = 0
    with translated(file):
        try:
            while content := stream.readline(_LINE_LIMIT):
                yield Line(file, offset, content)
                offset += len(content)
        except UNPACKING_ERRORS:
            damage.note(_damaged(Line(file, offset, b""), "cannot be unpacked further"))
