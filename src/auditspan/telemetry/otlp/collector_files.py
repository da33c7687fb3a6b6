"""Discovery, opening and unpacking of the collector's files.

Rotated files are recognised by the naming schemes of the collector
(`audit-2026-01-01T00-00-00.000.jsonl`) and logrotate (`audit.jsonl.1`, `audit.jsonl-20260101`).
gzip is recognised by the content of a file.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import zlib
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from auditspan.errors import CollectorFilesError
from auditspan.format import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Stream: TypeAlias = BufferedReader | gzip.GzipFile
"""An open file, which is unpacked as it is read."""

UNPACKING_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)
"""The errors of reading a truncated or damaged gzip file."""

_FILE_NAME = re.compile(
    r"(?P<stem>.+?)(?P<time>-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}(?:-[a-z]+)?)?\.jsonl"
    r"(?:\.(?P<number>\d{1,6})|-(?P<date>\d{8}(?:-?\d+)?))?(?P<packed>\.(?:gz|zst|zstd|bz2|xz|lz4))?"
)

_DIRECTORIES = (".", "audit", "telemetry")
"""The subdirectories that are searched; the last two are the collector's default layout."""

_GZIP = b"\x1f\x8b\x08"
_FORMATS = (
    (re.compile(rb"(?s)(?:.{4})?\x28\xb5\x2f\xfd"), "zstd"),  # the collector adds a length prefix
    (re.compile(rb"(?s)[\x00\x01].{3}\x0a."), "protobuf"),
    (re.compile(rb"BZh[1-9]"), "bzip2"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz"),
    (re.compile(rb"\x04\x22\x4d\x18"), "LZ4"),
    (re.compile(rb"\xff\x06\x00\x00sNaPpY"), "snappy"),
    (re.compile(rb"PK\x03\x04"), "zip"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "UTF-16"),
    (re.compile(_GZIP), "gzip within gzip"),
)
_OTLP = re.compile(rb'\s*\{\s*"resource(?:Logs|Spans)"')
_HEAD = 64

_log = logging.getLogger(__name__)


def foreign_format(file: Path, name: str) -> CollectorFilesError:
    """Return the error for a file that is not OTLP JSON lines."""
    return CollectorFilesError(
        f"{file} is {name}, not OTLP JSON lines, and was not read. Unpack or convert it first, or"
        " set `format: json` without compression in the collector's file exporter. Plain and gzip"
        " files are supported."
    )


def open_files(path: Path) -> Iterator[tuple[Path, Stream]]:
    """Yield the file, or the files of a directory by stem, from the oldest to the live one.

    Raises:
        CollectorFilesError: a file cannot be read, or has a known but unsupported format.
    """
    for file, stream in _opened(path):
        yield file, _unpacked(file, stream)


def _opened(path: Path) -> Iterator[tuple[Path, BufferedReader]]:
    with translated(path):
        if not path.is_dir():
            with path.open("rb") as stream:
                yield path, stream
            return
        directories = [path / name for name in _DIRECTORIES if (path / name).is_dir()]
    _require_known_names(path, directories)
    for directory in directories:
        for stem in sorted({name.stem for name in _names(directory)}):
            yield from _family(directory, stem)


def _require_known_names(path: Path, directories: list[Path]) -> None:
    """Name the files that look like the collector's, but have another name."""
    other = sorted(one.name for directory in directories for one in _with_other_names(directory))
    if not other:
        return
    message = (
        f"{counted(len(other), 'file')} in {path} with OTLP JSON lines, such as {other[0]!r}, "
        "cannot be ordered by name and were not read. Name files `*.jsonl` in the collector's file "
        "exporter, or pass each of them by its own path."
    )
    if not any(_names(directory) for directory in directories):
        raise CollectorFilesError(message)
    _log.warning(message)


def _with_other_names(directory: Path) -> Iterator[Path]:
    for file in _files(directory):
        if _FILE_NAME.fullmatch(file.name) is None and _is_otlp(file):
            yield file


def _is_otlp(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            packed = stream.peek(_HEAD).startswith(_GZIP)
            head = (gzip.GzipFile(fileobj=stream) if packed else stream).read(_HEAD)
    except (OSError, *UNPACKING_ERRORS):
        return False
    return _OTLP.match(head) is not None


def _unpacked(file: Path, stream: BufferedReader) -> Stream:
    with translated(file):
        packed = stream.peek(_HEAD).startswith(_GZIP)
        unpacked = gzip.GzipFile(fileobj=stream) if packed else stream
        try:
            head = unpacked.peek(_HEAD)
        except UNPACKING_ERRORS:  # raised again, and counted, when the file is read
            return unpacked
    for pattern, name in _FORMATS:
        if pattern.match(head):
            raise foreign_format(file, name)
    return unpacked


class _Identity(NamedTuple):
    """Identity of a file regardless of its name; a reused inode number is a different file."""

    inode: int
    size: int
    modified: int


def _identity(status: os.stat_result) -> _Identity:
    return _Identity(status.st_ino, status.st_size, status.st_mtime_ns)


def _family(directory: Path, stem: str) -> Iterator[tuple[Path, BufferedReader]]:
    """Yield the opened files of one stem, oldest first, each once even if the writer rotates.

    The live file is opened before the rotated ones are listed: if none of those is new, nothing can
    have been written between them and the opened file.
    """
    seen: set[_Identity] = set()
    while True:
        with ExitStack() as stack:
            live = directory / f"{stem}.jsonl"
            stream = _open(live, stack)
            new = [file for file in _rotated(directory, stem) if not _is_seen(file, seen)]
            if not new:
                if stream:
                    yield live, stream
                return
        for file in new:
            with ExitStack() as stack:
                if (stream := _open(file, stack)) and not _was_seen(stream, seen):
                    yield file, stream


def _is_seen(file: Path, seen: set[_Identity]) -> bool:
    """Check whether a file was read under any name; a missing file counts as read."""
    with translated(file):
        try:
            return _identity(file.stat()) in seen
        except FileNotFoundError:
            return True


def _was_seen(stream: BufferedReader, seen: set[_Identity]) -> bool:
    """Check whether an open file was read before, and mark it as read."""
    identity = _identity(os.fstat(stream.fileno()))
    known = identity in seen
    seen.add(identity)
    return known


class _Name(NamedTuple):
    stem: str
    order: tuple[str, int]  # the time in the name, then the number: the highest is the oldest
    is_live: bool
    file: Path


def _files(directory: Path) -> list[Path]:
    with translated(directory):
        return [file for file in directory.iterdir() if file.is_file()]


def _names(directory: Path) -> list[_Name]:
    matches = ((file, _FILE_NAME.fullmatch(file.name)) for file in _files(directory))
    return [_named(file, match) for file, match in matches if match]


def _named(file: Path, match: re.Match[str]) -> _Name:
    time, number = match["time"] or match["date"] or "", int(match["number"] or 0)
    is_live = not (time or number or match["packed"])
    return _Name(match["stem"], (time, -number), is_live, file)


def _rotated(directory: Path, stem: str) -> list[Path]:
    names = [name for name in _names(directory) if name.stem == stem and not name.is_live]
    return [name.file for name in sorted(names, key=lambda name: (name.order, name.file))]


def _open(file: Path, stack: ExitStack) -> BufferedReader | None:
    """Open a file until the stack is closed; return None if the writer has moved or deleted it."""
    with translated(file):
        try:
            return stack.enter_context(file.open("rb"))
        except FileNotFoundError:
            return None


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate operating system errors to `CollectorFilesError`."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CollectorFilesError(
            f"There are no collector files at {path}. Pass the directory that the collector's file"
            " exporter writes to (AUDITSPAN_COLLECTOR_FILES), and check that it is mounted here."
        ) from error
    except OSError as error:
        raise CollectorFilesError(
            f"The collector's files at {path} cannot be read: {error.strerror}. Access to its"
            " directories is restricted: run this as the collector's user or in its group."
        ) from error
