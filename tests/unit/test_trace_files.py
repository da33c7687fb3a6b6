"""A trace found by the index is the one that reading every file finds."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditspan.errors import CollectorFilesError
from auditspan.telemetry.otlp import (
    LogEntry,
    SpanRecord,
    Trace,
    TraceFiles,
    read_logs,
    read_spans,
)
from auditspan.telemetry.otlp.chunks import Chunk, Part, chunks_in, lines_of
from auditspan.telemetry.otlp.collector_files import Stream
from auditspan.telemetry.otlp.trace_files import INDEX_NAME
from auditspan.telemetry.otlp.trace_tree import build_trace

TRACES = tuple(f"{number:02x}" * 16 for number in range(0xA0, 0xA6))
TRACE_ID = re.compile(rb"(?:a.){16}")
Records: TypeAlias = tuple[tuple[SpanRecord, ...], tuple[LogEntry, ...]]
CHUNK = 600
"""About two exports."""


def export(trace_id: str, number: int, signal: str = "spans") -> bytes:
    """One export of one span or log record."""
    if signal == "logs":
        log = {"traceId": trace_id, "body": {"stringValue": f"log {number}"}}
        return line({"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]})
    span = {
        "traceId": trace_id,
        "spanId": f"{number + 1:016x}",
        "name": f"span {number}",
        "startTimeUnixNano": str(number),
        "endTimeUnixNano": str(number + 1),
    }
    return line({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


def line(document: object) -> bytes:
    """A document as the collector writes it, without the newline."""
    return json.dumps(document, separators=(",", ":")).encode()


def pretty(whole: bytes) -> bytes:
    """The export on several lines."""
    return json.dumps(json.loads(whole), indent=1).encode()


def escaped(whole: bytes) -> bytes:
    """The export with the first letter of its trace id written as an escape."""
    return whole.replace(b'"traceId":"a', b'"traceId":"\\u0061')


WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "line": lambda one: one + b"\n",
    "unfinished": lambda one: one,
    "torn": lambda one: one[: len(one) // 2],
    "torn line": lambda one: one[: 2 * len(one) // 3] + b"\n",
    "torn at a bracket": lambda one: one[: one.index(b"}") + 1] + b"\n",
    "pretty": lambda one: pretty(one) + b"\n",
    "list": lambda one: b"[" + one + b",\n" + one + b"]\n",
    "in upper case": lambda one: TRACE_ID.sub(lambda found: found[0].upper(), one) + b"\n",
    "escaped": lambda one: escaped(one) + b"\n",
    "blank": lambda one: b"\n" + one + b"\n\n",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory as the collector writes it."""
    (tmp_path / "telemetry").mkdir()
    return tmp_path


def fill(directory: Path, exports: int, name: str = "traces.jsonl") -> Path:
    """A file in which each trace is exported now and then."""
    file = directory / "telemetry" / name
    lines = (export(TRACES[number % 6], number) + b"\n" for number in range(exports))
    file.write_bytes(b"".join(lines))
    return file


def scanned(directory: Path, trace_id: str) -> Records:
    """The records of a trace in all files."""
    spans = read_spans(directory, trace_id=trace_id)
    return records(build_trace(trace_id, spans, read_logs(directory, trace_id=trace_id)))


def records(trace: Trace) -> Records:
    """The spans and log records of a trace."""
    return trace.spans, trace.logs


def require_equal(found: TraceFiles, directory: Path) -> None:
    """Each trace of the index is that of all files."""
    expected = {trace_id: scanned(directory, trace_id) for trace_id in TRACES}
    assert expected == {trace_id: records(found.trace(trace_id)) for trace_id in TRACES}


def bytes_read(files: TraceFiles, trace_id: str) -> int:
    """The bytes that a search parses after the files are indexed."""
    files.index()
    parts: list[int] = []

    def counted(stream: object, part: Part) -> Iterator[bytes]:
        for line in lines_of(stream, part):  # type: ignore[arg-type]
            parts.append(len(line))
            yield line

    with patch("auditspan.telemetry.otlp.files.lines_of", counted):
        files.trace(trace_id)
    return sum(parts)


class Writer:
    """A collector whose files are rotated, packed, truncated and replaced."""

    def __init__(self, directory: Path) -> None:
        self.live = directory / "telemetry" / "traces.jsonl"
        self.logs = directory / "telemetry" / "logs.jsonl"
        self.number = 0

    def write(self, how: str, trace: int, signal: str) -> None:
        """Append an export."""
        self.number += 1
        file = self.live if signal == "spans" else self.logs
        with file.open("ab") as stream:
            stream.write(WRITTEN[how](export(TRACES[trace], self.number, signal)))

    def rotate(self) -> None:
        """Rename the live file."""
        if self.live.exists():
            self.live.rename(self.live.with_name(f"traces.jsonl.{1000 - self.number}"))

    def pack(self) -> None:
        """Pack a rotated file."""
        for file in list(self.live.parent.glob("traces.jsonl.*"))[:1]:
            if not file.name.endswith(".gz"):
                with gzip.open(f"{file}.gz", "wb") as packed:
                    packed.write(file.read_bytes())
                file.unlink()

    def truncate(self) -> None:
        """Copy the live file, and empty it."""
        if self.live.exists():
            shutil.copy(self.live, self.live.with_name(f"traces.jsonl.{1000 - self.number}"))
            os.truncate(self.live, 0)

    def replace(self) -> None:
        """Write another content of the same size into the same file."""
        if self.live.exists():
            text = self.live.read_bytes()
            self.live.write_bytes(text.replace(b"a0", b"a9").replace(b"a1", b"a0"))

    def delete(self) -> None:
        """Delete the rotated files."""
        for file in self.live.parent.glob("traces.jsonl.*"):
            file.unlink()


STEPS = st.one_of(
    st.tuples(
        st.sampled_from(sorted(WRITTEN)), st.integers(0, 5), st.sampled_from(["spans", "logs"])
    ),
    st.tuples(st.just("line"), st.integers(0, 5), st.just("spans")),
    st.sampled_from(["rotate", "pack", "truncate", "replace", "delete", "search", "index"]),
)


@pytest.mark.parametrize("in_memory", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, max_size=40))
def test_the_index_finds_what_a_scan_finds(
    *, in_memory: bool, steps: list[tuple[str, int, str] | str]
) -> None:
    """After any sequence of writing, rotating, packing, replacing, indexing and searching."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "telemetry").mkdir()
        files, writer = TraceFiles(directory, chunk=CHUNK), Writer(directory)
        if in_memory:
            (directory / INDEX_NAME).mkdir()
        for step in [*steps, "search"]:
            if isinstance(step, tuple):
                writer.write(*step)
            elif step == "search":
                require_equal(files, directory)
            elif step == "index":
                files.index()
            else:
                getattr(writer, step)()


def test_only_the_chunks_of_a_trace_are_read(directory: Path) -> None:
    """A trace that is in one chunk needs that chunk; one that is nowhere needs nothing."""
    file = fill(directory, 2000)
    rare = "b" * 32
    with file.open("ab") as stream:
        stream.write(export(rare, 1) + b"\n" + export(TRACES[0], 2) + b"\n")
    files = TraceFiles(directory, chunk=CHUNK)
    assert [1, 0] == [len(files.trace(one).spans) for one in (rare, "c" * 32)]
    assert 0 < bytes_read(files, rare) <= 4 * CHUNK
    assert 0 == bytes_read(files, "c" * 32)


def test_a_file_that_grows_is_indexed_from_its_last_chunk(directory: Path) -> None:
    """Indexed parts are not read again, also under the name of a rotated file."""
    file = fill(directory, 2000)
    files = TraceFiles(directory, chunk=CHUNK)
    files.index()
    with file.open("ab") as stream:
        stream.write(export("b" * 32, 1) + b"\n")
    file.rename(file.with_name("traces.jsonl.1"))
    with indexed_from() as starts:
        assert 1 == len(files.trace("b" * 32).spans)
        files.index()
    [searched, indexed] = starts
    assert searched == indexed > file.with_name("traces.jsonl.1").stat().st_size - 3 * CHUNK


@contextmanager
def indexed_from() -> Iterator[list[int]]:
    """Collect the offsets from which files are searched as text, or indexed."""
    starts: list[int] = []

    def noted(stream: Stream, part: Part, *, size: int) -> Iterator[Chunk]:
        starts.append(part.start)
        return chunks_in(stream, part, size=size)

    with patch("auditspan.telemetry.otlp.trace_index.chunks_in", noted):
        yield starts


def test_a_search_of_many_unindexed_bytes_has_them_indexed(directory: Path) -> None:
    """A thread does it after the search, and the next search reads the index."""
    fill(directory, 2000)
    files = TraceFiles(directory, chunk=CHUNK)
    require_equal(files, directory)
    files.wait()
    with indexed_from() as starts:
        require_equal(files, directory)
    assert not starts


def test_few_unindexed_bytes_are_searched_each_time(directory: Path) -> None:
    """A live file that grows does not have the index written at each search."""
    fill(directory, 20)
    files = TraceFiles(directory, chunk=CHUNK)
    require_equal(files, directory)
    files.wait()
    with indexed_from() as starts:
        assert files.trace(TRACES[0]).spans
    assert [0] == starts


@pytest.mark.parametrize("change", ["replaced", "indexed"])
def test_a_file_that_changes_while_it_is_indexed_is_searched_right(
    directory: Path, change: str
) -> None:
    """Its chunks are not written: they would be those of another content."""
    file = fill(directory, 20)
    files, other = TraceFiles(directory, chunk=CHUNK), TraceFiles(directory, chunk=CHUNK)

    def meanwhile(stream: Stream, part: Part, *, size: int) -> Iterator[Chunk]:
        yield from chunks_in(stream, part, size=size)
        if change == "replaced":
            file.write_bytes(file.read_bytes().replace(b"a0", b"a9").replace(b"a1", b"a0"))
        else:
            with file.open("ab") as live:
                live.write(export("b" * 32, 1) + b"\n")
            with patch("auditspan.telemetry.otlp.trace_index.chunks_in", chunks_in):
                other.index()

    with patch("auditspan.telemetry.otlp.trace_index.chunks_in", meanwhile):
        files.index()
    require_equal(files, directory)
    assert (change == "indexed") == bool(files.trace("b" * 32).spans)


def replaced(file: Path, how: str) -> None:
    """Write another content into the same file."""
    before, text = file.stat(), file.read_bytes()
    other = text.replace(TRACES[3].encode(), TRACES[0].encode())  # rarely in one chunk
    if how == "in the middle":
        middle = len(text) // 2
        file.write_bytes(text[:middle] + other[middle : middle + 3000] + text[middle + 3000 :])
    elif how == "by a larger one":
        file.write_bytes(other * 2)
    else:
        file.write_bytes(other)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("how", ["in the middle", "by a larger one", "with the same time"])
def test_a_file_that_was_replaced_is_indexed_again(directory: Path, how: str) -> None:
    """Also where it has the same inode, and the same size, ends or time."""
    file = fill(directory, 200)
    files = TraceFiles(directory, chunk=CHUNK)
    files.index()
    replaced(file, how)
    require_equal(files, directory)


def test_a_line_that_is_written_in_two_parts_is_found(directory: Path) -> None:
    """A search between them does not separate the parts."""
    file, rare = fill(directory, 200), "b" * 32
    files, whole = TraceFiles(directory, chunk=CHUNK), export(rare, 1) + b"\n"
    found = []
    for part in (whole[:90], whole[90:]):
        with file.open("ab") as stream:
            stream.write(part)
        found.append(len(files.trace(rare).spans))
        files.index()
    assert [0, 1, 1] == [*found, len(files.trace(rare).spans)]


def test_another_process_uses_the_index(directory: Path) -> None:
    """The index is a file beside the collector's, and is found by the next object."""
    fill(directory, 200)
    TraceFiles(directory, chunk=CHUNK).index()
    assert 0o600 == (directory / INDEX_NAME).stat().st_mode & 0o777
    with patch("auditspan.telemetry.otlp.trace_index.chunks_in", side_effect=AssertionError):
        assert scanned(directory, TRACES[1]) == records(TraceFiles(directory).trace(TRACES[1]))


def test_a_directory_without_write_permission_is_indexed_in_memory(directory: Path) -> None:
    """Nothing is written into it, and the second search does not index it again."""
    fill(directory, 200)
    files = TraceFiles(directory, chunk=CHUNK)
    with patch("os.open", side_effect=PermissionError):
        files.index()
        with patch("auditspan.telemetry.otlp.trace_index.chunks_in", side_effect=AssertionError):
            require_equal(files, directory)
    assert ["telemetry"] == [one.name for one in directory.iterdir()]


@pytest.mark.parametrize("damage", ["no database", "other tables", "a link"])
def test_a_damaged_index_is_not_trusted(directory: Path, damage: str) -> None:
    """A file other than an index does not prevent the search."""
    fill(directory, 50)
    index = directory / INDEX_NAME
    if damage == "no database":
        index.write_bytes(b"no database" * 1000)
    elif damage == "a link":
        index.symlink_to(directory / "elsewhere")
    else:
        with sqlite3.connect(index) as connection:
            connection.execute("CREATE TABLE file (a)")
    require_equal(TraceFiles(directory, chunk=CHUNK), directory)
    assert not (directory / "elsewhere").exists()


def test_deleted_files_leave_the_index(directory: Path) -> None:
    """So the index does not grow for ever."""
    files = TraceFiles(directory, chunk=CHUNK)
    for number in range(3):
        fill(directory, 50).rename(directory / "telemetry" / f"traces.jsonl.{number + 1}")
        files.index()
    for file in directory.glob("telemetry/*.jsonl.[12]"):
        file.unlink()
    files.index()
    with sqlite3.connect(directory / INDEX_NAME) as connection:
        [(kept,)] = connection.execute("SELECT count(DISTINCT file) FROM chunk").fetchall()
    assert 1 == kept


def test_foreign_files_are_refused_as_by_a_scan(directory: Path) -> None:
    """With the same message, each time."""
    fill(directory, 1).write_text("plain text\n" * 1000)
    for _ in range(2):
        with pytest.raises(CollectorFilesError, match="is plain text, not OTLP JSON lines"):
            TraceFiles(directory, chunk=CHUNK).trace(TRACES[0])
        TraceFiles(directory, chunk=CHUNK).index()
    with pytest.raises(CollectorFilesError, match="There are no collector files"):
        TraceFiles(directory / "missing").trace(TRACES[0])


def test_a_single_file_is_searched(directory: Path) -> None:
    """Without an index beside it."""
    file = fill(directory, 50)
    assert scanned(file, TRACES[2]) == records(TraceFiles(file, chunk=CHUNK).trace(TRACES[2]))
    assert [file] == list(file.parent.iterdir())
