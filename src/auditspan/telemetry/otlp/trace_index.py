"""Index of the trace ids in the collector's files, kept in SQLite.

The index only decides which parts of the files are read: records are always parsed anew. A file is
recognised by its inode, and by a digest of its beginning and its end, under any name. What the
index does not have is searched as text. If a file grew, it is indexed from its last chunk on; if it
was replaced, from its beginning.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, TypeAlias

from auditspan.telemetry.otlp.chunks import WHOLE, Chunk, Part, chunks_in, is_packed
from auditspan.telemetry.otlp.collector_files import Stream

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
SELECT start, stop FROM chunk
WHERE file = ? AND start < ? AND (ids IS NULL OR instr(ids, ?)) ORDER BY start
"""

_Chunk: TypeAlias = tuple[int, int, bytes | None]
"""Start, end and trace ids of a chunk."""


class _State(NamedTuple):
    """State of a file; equal states have, as far as is known, equal content."""

    size: int
    modified: int
    digest: bytes


class _File(NamedTuple):
    """File as it is in the index."""

    id: int
    state: _State


class TraceIndex:
    """Index on a connection to SQLite that is in autocommit mode.

    Args:
        connection: the connection; the tables are created.
        chunk: the number of bytes that are read together.

    Attributes:
        unindexed: the number of bytes that `parts` searched as text.
    """

    def __init__(self, connection: sqlite3.Connection, *, chunk: int) -> None:
        self.unindexed = 0
        self._connection, self._chunk = connection, chunk
        self._searched: dict[tuple[str, _State, int, str], tuple[Part, ...]] = {}
        self._kept: set[int] = set()
        self._create()

    def parts(self, stream: Stream, trace_id: str) -> tuple[Part, ...]:
        """Return the parts of an open file that may have records of a trace, in lower case.

        Raises:
            sqlite3.Error: the index cannot be read.
        """
        now = _state(stream)
        with self._transaction("DEFERRED"):  # other processes may forget the file meanwhile
            file, start = self._known(stream, now)
            wanted = (file and file.id, start, bytes.fromhex(trace_id))
            found = tuple(Part(*row) for row in self._connection.execute(_PARTS, wanted))
        if start < now.size:
            found += self._search(stream, now, start, trace_id)
        length = sum(stop - start for start, stop in found if stop is not None)
        return WHOLE if found and (is_packed(stream) or length == now.size) else found

    def update(self, stream: Stream, lock: AbstractContextManager[object]) -> None:
        """Index what is new in an open file, unless it is replaced or indexed meanwhile.

        Args:
            stream: the file.
            lock: held while the connection is used, but not while the file is read.

        Raises:
            sqlite3.Error: the index cannot be read or written.
        """
        now = _state(stream)
        with lock:
            file, start = self._known(stream, now)
        chunks = self._read(stream, start, now.size) if start < now.size else []
        with lock:
            if chunks and now.digest == _digest(stream, now.size):
                self._replace(_inode(stream), file, now, chunks)
            found = self._find(_inode(stream))
            self._kept.update([found.id] if found else [])

    def prune(self) -> None:
        """Remove the files that `update` was not called with: they no longer exist."""
        others = {row[0] for row in self._connection.execute("SELECT id FROM file")} - self._kept
        if others:
            with self._transaction():
                for one in others:
                    self._forget(one)

    def _create(self) -> None:
        if self._version() != _VERSION:
            with self._transaction():
                if self._version() != _VERSION:
                    for statement in _SCHEMA.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _version(self) -> int:
        found: tuple[int] = self._connection.execute("PRAGMA user_version").fetchone()
        return found[0]

    def _find(self, inode: str) -> _File | None:
        row = self._connection.execute(
            "SELECT id, size, modified, digest FROM file WHERE inode = ?", (inode,)
        ).fetchone()
        return _File(row[0], _State(*row[1:])) if row else None

    def _known(self, stream: Stream, now: _State) -> tuple[_File | None, int]:
        """Return the file in the index, and the offset up to which its chunks hold."""
        file = self._find(_inode(stream))
        if file is None or file.state == now:
            return file, now.size if file else 0
        size, _, digest = file.state
        if is_packed(stream) or size >= now.size or digest != _digest(stream, size):
            return file, 0
        last = "SELECT max(start) FROM chunk WHERE file = ?"
        return file, self._connection.execute(last, (file.id,)).fetchone()[0] or 0

    def _search(self, stream: Stream, now: _State, start: int, trace_id: str) -> tuple[Part, ...]:
        """Search a file as text from an offset on; only once while it does not change."""
        key = (_inode(stream), now, start, trace_id)
        if key not in self._searched:
            self.unindexed += now.size - start
            chunks = self._chunks(stream, start, now.size)
            found = (Part(one.start, one.stop) for one in chunks if one.may_have(trace_id))
            self._searched[key] = tuple(found)
        return self._searched[key]

    def _read(self, stream: Stream, start: int, size: int) -> list[_Chunk]:
        """Read the trace ids of a file from an offset on; a packed file is one chunk."""
        chunks = self._chunks(stream, start, size)
        found = [(one.start, one.stop, one.trace_ids) for one in chunks]
        if not is_packed(stream):
            return found
        ids = [one for _, _, one in found if one is not None]
        return [(0, size, b"".join(ids) if len(ids) == len(found) else None)]

    def _chunks(self, stream: Stream, start: int, size: int) -> Iterator[Chunk]:
        part = WHOLE[0] if is_packed(stream) else Part(start, size)
        return chunks_in(stream, part, size=self._chunk)

    def _replace(self, inode: str, before: _File | None, now: _State, chunks: list[_Chunk]) -> None:
        """Write the chunks of a file from the first of these on, if the index has not changed."""
        with self._transaction():
            if self._find(inode) == before:
                file = before.id if before else self._add(inode)
                rows = [(file, *one) for one in chunks]
                self._connection.execute(
                    "DELETE FROM chunk WHERE file = ? AND start >= ?", rows[0][:2]
                )
                self._connection.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?)", rows)
                self._connection.execute(
                    "UPDATE file SET size = ?, modified = ?, digest = ? WHERE id = ?", (*now, file)
                )

    def _add(self, inode: str) -> int:
        insert = "INSERT INTO file (inode) VALUES (?)"
        return self._connection.execute(insert, (inode,)).lastrowid or 0

    def _forget(self, file: int) -> None:
        self._connection.execute("DELETE FROM chunk WHERE file = ?", (file,))
        self._connection.execute("DELETE FROM file WHERE id = ?", (file,))

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        """Run a transaction, by default one that writes: other processes wait for its end."""
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _inode(stream: Stream) -> str:
    status = os.fstat(stream.fileno())
    return f"{status.st_dev}:{status.st_ino}"


def _state(stream: Stream) -> _State:
    status = os.fstat(stream.fileno())
    return _State(status.st_size, status.st_mtime_ns, _digest(stream, status.st_size))


def _digest(stream: Stream, size: int) -> bytes:
    """Return a digest of the first and the last of `size` bytes, as they are on the disk."""
    file, last = stream.fileno(), max(0, size - _SAMPLE)
    ends = os.pread(file, min(size, _SAMPLE), 0), os.pread(file, size - last, last)
    return hashlib.sha256(b"".join(ends)).digest()
