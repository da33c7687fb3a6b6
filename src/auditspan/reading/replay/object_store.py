"""Store of the objects of a replay: a bounded number in memory, others in a temporary file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from types import TracebackType
from typing import Self

from auditspan.format import Json
from auditspan.reading.replay.temporary_file import CACHE_KIB, explained, open_temporary_file

Fields = dict[str, Json]
"""An object: its recorded values by column."""

_KEPT = 2000
"""Objects in memory; each is at most about as large as a body, 64 KiB."""

_SCHEMA = """
CREATE TABLE object (type TEXT, key TEXT, fields TEXT, PRIMARY KEY (type, key)) WITHOUT ROWID
"""
_GET = "SELECT fields FROM object WHERE type = ? AND key = ?"
_PUT = "INSERT OR REPLACE INTO object VALUES (?, ?, ?)"
_REMOVE = "DELETE FROM object WHERE type = ? AND key = ?"
_ALL = "SELECT type, key, fields FROM object ORDER BY type, key"


class ObjectStore:
    """Store of fields by type and key, in memory that does not grow with their number.

    No file is written while all objects fit into 32 MiB.

    Args:
        kept: the number of objects in memory.
        cache_kib: the size of SQLite's page cache, beyond which it writes to the file.
    """

    def __init__(self, *, kept: int = _KEPT, cache_kib: int = CACHE_KIB) -> None:
        self._kept = kept
        self._near: dict[tuple[str, str], Fields | None] = {}
        self._file = open_temporary_file(_SCHEMA, cache_kib=cache_kib)
        self._cursor = self._file.cursor()  # reused, since lookups are most of the work

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def get(self, type_: str, key: str) -> Fields | None:
        """Return the fields of an object; None if there is none. Change them only with `put`."""
        place = (type_, key)
        if place not in self._near:
            with explained():
                row = self._cursor.execute(_GET, place).fetchone()
            self._keep(place, None if row is None else json.loads(row[0]))
        return self._near[place]

    def put(self, type_: str, key: str, fields: Fields) -> None:
        """Store an object, replacing an existing one."""
        self._keep((type_, key), fields)

    def pop(self, type_: str, key: str) -> Fields | None:
        """Remove an object, and return its fields; None if there is none."""
        fields = self.get(type_, key)
        self._near[type_, key] = None
        return fields

    def remaining(self) -> Iterator[tuple[str, str, Fields]]:
        """Yield the remaining objects, by type and key. The store MUST NOT change meanwhile."""
        self._write()
        with explained(), closing(self._file.execute(_ALL)) as found:
            for type_, key, fields in found:
                yield type_, key, json.loads(fields)

    def _keep(self, place: tuple[str, str], fields: Fields | None) -> None:
        if len(self._near) >= self._kept and place not in self._near:
            self._write()
        self._near[place] = fields

    def _write(self) -> None:
        kept = ((*place, json.dumps(f)) for place, f in self._near.items() if f is not None)
        gone = (place for place, fields in self._near.items() if fields is None)
        with explained():
            self._file.execute("BEGIN")
            self._file.executemany(_PUT, kept)
            self._file.executemany(_REMOVE, gone)
            self._file.execute("COMMIT")
        self._near.clear()
