"""Spans and log records read back from files of OTLP JSON lines.

Both writers are read: the collector's file exporter and the SDK's
`opentelemetry-exporter-otlp-json-file`. A line is one export, `{"resourceSpans":[…]}`,
`{"resourceLogs":[…]}` or `{"resourceMetrics":[…]}`.

The writer may have been killed, or its disk may have been full, in the middle of a line; the next
export then stands right behind the torn one. Every complete export is found all the same, and what
was left out is counted in a `Damage`.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, NamedTuple

from auditspan.errors import CollectorFilesError
from auditspan.otlpjson import (
    LOGS,
    SPANS,
    LogEntry,
    MalformedError,
    SpanEvent,
    SpanLink,
    SpanRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditspan.otlpjson import R, Signal

__all__ = ["Damage", "LogEntry", "SpanEvent", "SpanLink", "SpanRecord", "read_logs", "read_spans"]

_log = logging.getLogger(__name__)
_json = json.JSONDecoder()

_OPENING = re.compile(rb'\{"resource(?:Spans|Logs|Metrics|Profiles)"')
"""How every export begins, and nothing else: inside a string the quote is escaped (`{\\"resource`),
and the objects within an export begin with `{"resource":`."""

_FILE_NAME = re.compile(
    r"(?P<stem>.+?)(?P<rotated>-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}(?:-[a-z]+)?)?\.jsonl"
)

_DIRECTORIES = (".", "audit", "telemetry")
"""Where files are looked for below a directory; the last two are the collector's own layout."""

_TOPS = {"resourceSpans", "resourceLogs", "resourceMetrics", "resourceProfiles"}
_SPACE = " \t\r\n"

_LINE_LIMIT = 64 * 1024 * 1024
"""Bytes. The collector takes requests of 20 MiB; a longer line is damaged, and read in pieces."""


@dataclass(frozen=True, kw_only=True)
class DamagedPiece:
    """Where something was left out, and why; never what it said."""

    file: Path
    line_offset: int  # bytes from the start of the file to the start of the line
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


class _Line(NamedTuple):
    file: Path
    offset: int
    content: bytes

    def damaged(self, reason: str) -> DamagedPiece:
        torn = not self.content.endswith(b"\n")
        return DamagedPiece(file=self.file, line_offset=self.offset, reason=reason, unfinished=torn)


def read_spans(
    path: Path | str, *, trace_id: str | None = None, damage: Damage | None = None
) -> Iterator[SpanRecord]:
    """The spans in a file, or in the files of a directory; see `read_logs` for what is promised."""
    return _read(Path(path), SPANS, trace_id, damage)


def read_logs(
    path: Path | str, *, trace_id: str | None = None, damage: Damage | None = None
) -> Iterator[LogEntry]:
    """The log records in a file, or in the files of a directory, in the order they were written.

    Of a directory, the `*.jsonl` files in it and in its `audit` and `telemetry` are read: each stem
    (`audit`, `logs` …) from its oldest rotated file to the live one, each file once even when the
    writer rotates meanwhile. Memory does not grow with the files. What is appended to a live file
    while it is read may or may not be seen. A record that was written twice comes twice.

    Args:
        path: a file, or a directory such as the collector's data directory.
        trace_id: only the records of this trace. Other lines are passed over unparsed, which is
            many times faster; their damage is not counted.
        damage: counts what had to be left out. Without one, a warning is logged at the end.
            Lines of another signal are passed over, so each reader counts its own damage.

    Raises:
        CollectorFilesError: there is no such file or directory, or it may not be read. The first
            is raised by this call, the second possibly later, while iterating.
    """
    return _read(Path(path), LOGS, trace_id, damage)


def _read(
    path: Path, signal: Signal[R], trace_id: str | None, damage: Damage | None
) -> Iterator[R]:
    with _translated(path):
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
    wanted = trace_id.lower() if trace_id else ""
    opening, needle = f'{{"{signal.top}"'.encode(), wanted.encode()
    for line in _lines(path):
        if _is_passed_over(line.content, opening, needle):
            continue
        for export in _exports(line.content):
            for record in _decoded(export, signal, line, damage):
                if not wanted or record.trace_id == wanted:
                    yield record


def _is_passed_over(content: bytes, opening: bytes, needle: bytes) -> bool:
    """Whether a line need not be parsed: it lacks the needle, or is all of another signal."""
    begins = _OPENING.match(content)
    of_another = begins is not None and begins.group() != opening and opening not in content
    return of_another or needle not in content


def _decoded(export: object, signal: Signal[R], line: _Line, damage: Damage) -> Iterator[R]:
    if export is None:
        damage.note(line.damaged("not a complete export"))
        return
    try:
        for record in signal.read(export):
            if isinstance(record, MalformedError):
                damage.note(line.damaged(str(record)))
            else:
                yield record
    except MalformedError as error:
        damage.note(line.damaged(str(error)))


def _exports(content: bytes) -> Iterator[object | None]:
    """The exports of a line, and a None for each stretch that is none, in order.

    A line is tried whole first. Otherwise it is cut at every opening: an undamaged export holds
    one only, and a torn one can never swallow the next, since it leaves a bracket or a string open.
    """
    export, rest = _leading_export(content)
    if rest:
        openings = [opening.start() for opening in _OPENING.finditer(content)]
        for start, end in pairwise([0, *openings, len(content)]):
            export, rest = _leading_export(content[start:end])
            if export is not None:
                yield export
            if rest:
                yield None
    elif export is not None:
        yield export


def _leading_export(raw: bytes) -> tuple[object | None, str]:
    """The export that the bytes begin with, and the text after it; all of it when there is none.

    Strings may hold invalid UTF-8, which the collector passes on as it came: U+FFFD in its place.
    """
    text = raw.decode("utf-8", "replace").strip(_SPACE)
    try:
        export, end = _json.raw_decode(text)
    except (ValueError, RecursionError):
        return None, text
    if not isinstance(export, dict) or (export and not _TOPS & export.keys()):
        return None, text
    return export, text[end:].strip(_SPACE)


def _lines(path: Path) -> Iterator[_Line]:
    for file, stream in _files(path):
        offset = 0
        with _translated(file):
            while content := stream.readline(_LINE_LIMIT):
                yield _Line(file, offset, content)
                offset += len(content)


def _files(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    with _translated(path):
        if not path.is_dir():
            with path.open("rb") as stream:
                yield path, stream
            return
        directories = [path / name for name in _DIRECTORIES if (path / name).is_dir()]
    for directory in directories:
        for stem in sorted(_names(directory)):
            yield from _family(directory, stem)


def _family(directory: Path, stem: str) -> Iterator[tuple[Path, BinaryIO]]:
    """The files of one stem, opened, oldest first, each once though the writer may rotate.

    The live file is opened before the rotated ones are listed: when none of those is new, nothing
    can have been written between them and what was opened.
    """
    seen: set[str] = set()
    while True:
        with ExitStack() as stack:
            live = directory / f"{stem}.jsonl"
            stream = _open(live, stack)
            new = [name for name in _names(directory).get(stem, []) if name not in seen]
            if not new:
                if stream:
                    yield live, stream
                return
        for name in new:
            seen.add(name)
            with ExitStack() as stack:
                if stream := _open(directory / name, stack):
                    yield directory / name, stream


def _names(directory: Path) -> dict[str, list[str]]:
    """The names of the rotated files by stem, oldest first; the name holds the time in UTC."""
    names: dict[str, list[str]] = {}
    with _translated(directory):
        for file in directory.iterdir():
            if (match := _FILE_NAME.fullmatch(file.name)) and file.is_file():
                rotated = names.setdefault(match["stem"], [])
                rotated += [file.name] if match["rotated"] else []
    return {stem: sorted(rotated) for stem, rotated in names.items()}


def _open(file: Path, stack: ExitStack) -> BinaryIO | None:
    """The file, closed with the stack; None when the writer has moved or deleted it meanwhile."""
    with _translated(file):
        try:
            return stack.enter_context(file.open("rb"))
        except FileNotFoundError:
            return None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CollectorFilesError(
            f"There are no collector files at {path}. Give the directory that the collector's file"
            " exporter writes to (AUDITSPAN_COLLECTOR_FILES), and see that it is mounted here."
        ) from error
    except OSError as error:
        raise CollectorFilesError(
            f"The collector's files at {path} cannot be read: {error.strerror}. Its directories are"
            " not open to everybody: run this as the collector's user or in its group."
        ) from error
