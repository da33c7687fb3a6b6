"""Index of the trace ids in the collector's files, kept in SQLite.

The index only decides which parts of the files are read: records are always parsed anew. A file is
recognised by its inode, and by a digest of its beginning and its end, under any name. If it grew,
it is indexed from its last chunk on; if it was replaced, from its beginning.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from auditspan.otlp.chunks import WHOLE, Part, chunks_in
from auditspan.otlp.collector_files import Stream

_VERSION = 1
_SAMPLE = 4096
"""Bytes at the beginning and at the end of a file by which it is recognised."""

_SCHEMA = """
DROP TABLE IF EXISTS file; DROP TABLE IF EXISTS chunk;
CREATE TABLE file (
    id INTEGER PRIMARY KEY, inode TEXT UNIQUE, size INTEGER, modified INTEGER, digest BLOB
);
CREATE TABLE chunk (
    file INTEGER, start INTEGER, stop INTEGER, ids BLOB, PRIMARY KEY (file, start)
) WITHOUT ROWID;
"""
_PARTS = """
SELECT start, stop FROM chunk WHERE file = ? AND (ids IS NULL OR instr(ids, ?)) ORDER BY start
"""


class _File(NamedTuple):
    """File as it is in the index."""

    id: int
    size: int
    modified: int
    digest: bytes


class TraceIndex:
    """Index on a connection to SQLite that is in autocommit mode.

    Args:
        connection: the connection; the tables are created.
        chunk: the number of bytes that are read together.
    """

    def __init__(self, connection: sqlite3.Connection, *, chunk: int) -> None:
        self._connection, self._chunk = connection, chunk
        self._seen: set[int] = set()
        self._create()

    def parts(self, stream: Stream, trace_id: str) -> tuple[Part, ...]:
        """Return the parts of an open file that may have records of a trace; index it if necessary.

        Raises:
            sqlite3.Error: the index cannot be read or written.
        """
        status = os.fstat(stream.fileno())
        file = self._current(stream, status) or self._indexed(stream, status)
        self._seen.add(file.id)
        wanted = bytes.fromhex(trace_id)
        rows = self._connection.execute(_PARTS, (file.id, wanted))
        found = tuple(Part(*row) for row in rows)
        length = sum(stop - start for start, stop in found if stop is not None)
        is_whole = isinstance(stream, gzip.GzipFile) or length == file.size
        return WHOLE if found and is_whole else found

    def forget_others(self) -> None:
        """Remove the files that `parts` was not called with: they no longer exist."""
        others = {row[0] for row in self._connection.execute("SELECT id FROM file")} - self._seen
        if others:
            with self._writing():
                for one in others:
                    self._forget(one)

    def _create(self) -> None:
        if self._version() != _VERSION:
            with self._writing():
                if self._version() != _VERSION:
                    for statement in _SCHEMA.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _version(self) -> int:
        found: tuple[int] = self._connection.execute("PRAGMA user_version").fetchone()
        return found[0]

    def _find(self, status: os.stat_result) -> _File | None:
        row = self._connection.execute(
            "SELECT id, size, modified, digest FROM file WHERE inode = ?", (_inode(status),)
        ).fetchone()
        return _File(*row) if row else None

    def _current(self, stream: Stream, status: os.stat_result) -> _File | None:
        """Return the file as indexed, if it has not changed since."""
        file = self._find(status)
        if file is None or (file.size, file.modified) != (status.st_size, status.st_mtime_ns):
            return None
        return file if file.digest == _digest(stream, file.size) else None

    def _indexed(self, stream: Stream, status: os.stat_result) -> _File:
        """Index what is new in a file, or all of it if it was replaced."""
        with self._writing():
            if (file := self._current(stream, status)) is not None:  # by another process
                return file
            file = self._find(status)
            start = self._grown_from(stream, status, file) if file else 0
            if file is not None and not start:
                self._forget(file.id)
            id_ = file.id if file and start else self._add(status)
            self._index(stream, id_, start, status.st_size)
            found = _File(id_, status.st_size, status.st_mtime_ns, _digest(stream, status.st_size))
            self._connection.execute(
                "UPDATE file SET size = ?, modified = ?, digest = ? WHERE id = ?", (*found[1:], id_)
            )
            return found

    def _grown_from(self, stream: Stream, status: os.stat_result, file: _File) -> int:
        """Return the offset from which a file that grew is indexed; 0 if it was replaced."""
        is_same = status.st_size > file.size and file.digest == _digest(stream, file.size)
        if not is_same or isinstance(stream, gzip.GzipFile):
            return 0
        last = "SELECT max(start) FROM chunk WHERE file = ?"
        return self._connection.execute(last, (file.id,)).fetchone()[0] or 0

    def _index(self, stream: Stream, file: int, start: int, size: int) -> None:
        self._connection.execute("DELETE FROM chunk WHERE file = ? AND start >= ?", (file, start))
        chunks = chunks_in(stream, start=start, stop=size, size=self._chunk)
        rows = ((file, one.start, one.stop, one.trace_ids) for one in chunks)
        self._connection.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?)", rows)

    def _add(self, status: os.stat_result) -> int:
        insert = "INSERT INTO file (inode) VALUES (?)"
        return self._connection.execute(insert, (_inode(status),)).lastrowid or 0

    def _forget(self, file: int) -> None:
        self._connection.execute("DELETE FROM chunk WHERE file = ?", (file,))
        self._connection.execute("DELETE FROM file WHERE id = ?", (file,))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run a transaction; other processes wait for its end."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _inode(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def _digest(stream: Stream, size: int) -> bytes:
    """Return a digest of the first and the last of `size` bytes, as they are on the disk."""
    file, last = stream.fileno(), max(0, size - _SAMPLE)
    ends = os.pread(file, min(size, _SAMPLE), 0), os.pread(file, size - last, last)
    return hashlib.sha256(b"".join(ends)).digest()
