"""Reader for spans and log records in files of OTLP JSON lines.

Files of both the collector's file exporter and the SDK's `opentelemetry-exporter-otlp-json-file`
are supported. A line is one export, `{"resourceSpans":[…]}`, `{"resourceLogs":[…]}` or
`{"resourceMetrics":[…]}`.

If the writer was killed or its disk was full, a line may end early and be followed directly by the
next export. Every complete export is still found, and skipped pieces are counted in a `Damage`.
Files may be compressed with gzip, and documents may be pretty-printed; a file in another format
raises an error that names the format.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from auditspan.format import counted
from auditspan.telemetry.otlp.chunks import WHOLE, lines_of
from auditspan.telemetry.otlp.collector_files import (
    UNPACKING_ERRORS,
    foreign_format,
    open_files,
    translated,
)
from auditspan.telemetry.otlp.decode import (
    LOGS,
    SPANS,
    LogEntry,
    MalformedError,
    SpanEvent,
    SpanLink,
    SpanRecord,
)
from auditspan.telemetry.otlp.documents import ESCAPED, OPENING, Documents, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditspan.telemetry.otlp.chunks import Part
    from auditspan.telemetry.otlp.collector_files import Stream
    from auditspan.telemetry.otlp.decode import R, Signal
    from auditspan.telemetry.otlp.trace_index import TraceIndex

__all__ = ["Damage", "LogEntry", "SpanEvent", "SpanLink", "SpanRecord", "read_logs", "read_spans"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DamagedPiece:
    """Location of a skipped piece and the reason, but never its content."""

    file: Path
    line_offset: int  # bytes from the start of the (unpacked) file to the start of the line
    reason: str
    unfinished: bool  # the file ends here without a newline: it may still be being written

    def __str__(self) -> str:
        """Return where it is, and the reason."""
        return f"at byte {self.line_offset} of {self.file}: {self.reason}"


@dataclass(kw_only=True)
class Damage:
    """Pieces that a reader skipped; pass one in, and check it after the reader is exhausted.

    A piece is a part of a line outside every complete export; it ends where a complete export
    begins, or at the opening of another torn one. (If a torn export is directly followed by another
    torn one that is shorter than an opening, the two cannot be distinguished.) An export or a
    record that is complete JSON but not OTLP is a piece as well.
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
    path: Path | str,
    *,
    trace_id: str | None = None,
    damage: Damage | None = None,
    index: TraceIndex | None = None,
) -> Iterator[SpanRecord]:
    """Return the spans in a file, or in a directory's files, with the guarantees of `read_logs`."""
    return _read(_Files(Path(path), trace_id, index), SPANS, damage)


def read_logs(
    path: Path | str,
    *,
    trace_id: str | None = None,
    damage: Damage | None = None,
    index: TraceIndex | None = None,
) -> Iterator[LogEntry]:
    """Return the log records in a file, or in a directory's files, in the order they were written.

    In a directory, the `*.jsonl` files in it and in its `audit` and `telemetry` are read, including
    rotated (`audit.jsonl.1`) and compressed ones (`audit.jsonl.1.gz`): each stem (`audit`, `logs`
    …) from its oldest file to the live one, each file once even if the writer rotates meanwhile.
    Memory use does not grow with the files. Data appended to a live file while it is read may be
    missed. A record that was written twice is returned twice.

    Args:
        path: a file, or a directory such as the collector's data directory.
        trace_id: return only the records of this trace. Other lines are skipped unparsed, which is
            many times faster; their damage is not counted.
        damage: counts skipped pieces. Without it, a warning is logged at the end. Lines of another
            signal are skipped, so each reader counts its own damage.
        index: leaves out the parts of the files that have no record of the trace.

    Raises:
        CollectorFilesError: the path does not exist, cannot be read, or is not OTLP JSON. The first
            is raised by this call, the others possibly during iteration.
    """
    return _read(_Files(Path(path), trace_id, index), LOGS, damage)


class _Files:
    """Files whose records are read, or only those of one trace."""

    def __init__(self, path: Path, trace_id: str | None, index: TraceIndex | None) -> None:
        self.path, self.trace_id, self._index = path, (trace_id or "").lower(), index

    def opened(self) -> Iterator[tuple[Path, Stream, tuple[Part, ...]]]:
        """Yield each file with the parts of it to read."""
        for file, stream in open_files(self.path):
            if self._index is None or not self.trace_id:
                yield file, stream, WHOLE
            else:
                with translated(file):
                    parts = self._index.parts(stream, self.trace_id)
                yield file, stream, parts


def _read(files: _Files, signal: Signal[R], damage: Damage | None) -> Iterator[R]:
    with translated(files.path):
        files.path.stat()
    if damage is None:
        return _warning_of_damage(files, signal)
    return _records(files, signal, damage)


def _warning_of_damage(files: _Files, signal: Signal[R]) -> Iterator[R]:
    damage = Damage()
    try:
        yield from _records(files, signal, damage)
    finally:
        if damage.pieces:
            pieces = counted(damage.pieces, "damaged piece")
            _log.warning("skipped %s; the first is %s", pieces, damage.places[0])


def _records(files: _Files, signal: Signal[R], damage: Damage) -> Iterator[R]:
    wanted = files.trace_id
    for file, stream, parts in files.opened():
        for part in parts:
            documents = Documents(is_unwanted=_Unwanted(signal.top, wanted))
            for line, export in documents.read(_lines(file, stream, part, damage)):
                for record in _decoded(export, signal, line, damage):
                    if not wanted or record.trace_id == wanted:
                        yield record
            if part in WHOLE and (name := documents.foreign_format()) is not None:
                raise foreign_format(file, name)


class _Unwanted:
    """Check of raw text for documents that belong entirely to another signal or trace.

    Ids may be in upper case, and any character may be escaped: a document with an escaped letter or
    digit is always wanted.
    """

    def __init__(self, top: str, trace_id: str) -> None:
        self._top, self._trace_id = f'"{top}"'.encode(), trace_id.encode()

    def __call__(self, content: bytes) -> bool:
        if not OPENING.match(content) or ESCAPED.search(content):
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


def _lines(file: Path, stream: Stream, part: Part, damage: Damage) -> Iterator[Line]:
    offset = part.start
    with translated(file):
        try:
            for content in lines_of(stream, part):
                yield Line(file, offset, content)
                offset += len(content)
        except UNPACKING_ERRORS:
            damage.note(_damaged(Line(file, offset, b""), "cannot be unpacked further"))
