"""Event ids of the table and of a destination, in a temporary file that compares them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from auditspan.reading.replay import explained, open_temporary_file
from auditspan.verify.backends import Delivered

_CHUNK = 1000
_CACHE_KIB = 16 * 1024

_COPY = """
CREATE TABLE copy (
    event_id BLOB PRIMARY KEY, digest BLOB, copies INTEGER, trail TEXT, differs INTEGER
) WITHOUT ROWID
"""
_MORE_TABLES = (
    """
    CREATE TABLE stored (
        event_id BLOB, position INTEGER, digest BLOB, PRIMARY KEY (event_id, position)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE announced (event_id BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE purged (event_id BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE own (trail TEXT PRIMARY KEY) WITHOUT ROWID",
    """
    CREATE VIEW stray AS
    SELECT event_id, trail, differs,
           trail IS NOT NULL AND EXISTS (SELECT 1 FROM own)
               AND trail NOT IN (SELECT trail FROM own) AS is_other
      FROM copy WHERE NOT EXISTS (SELECT 1 FROM stored WHERE stored.event_id = copy.event_id)
       AND event_id NOT IN (SELECT event_id FROM purged)
    """,
)
_ADD_COPY = """
INSERT INTO copy VALUES (?, ?, 1, ?, 0) ON CONFLICT (event_id) DO UPDATE SET
    copies = copies + 1,
    differs = differs OR coalesce(digest <> excluded.digest, 0),
    trail = CASE WHEN trail IS excluded.trail THEN trail END
"""
_ADD_STORED = "INSERT INTO stored VALUES (?, ?, ?)"
_ADD_ANNOUNCED = "INSERT OR IGNORE INTO announced VALUES (?)"
_ADD_PURGED = "INSERT OR IGNORE INTO purged VALUES (?)"
_ADD_OWN = "INSERT OR IGNORE INTO own VALUES (?)"
_ADD_OWN_OF_ROWS = """
INSERT OR IGNORE INTO own SELECT DISTINCT trail FROM stored JOIN copy USING (event_id)
 WHERE trail IS NOT NULL AND coalesce(stored.digest = copy.digest, 1)
UNION SELECT trail FROM purged JOIN copy USING (event_id) WHERE trail IS NOT NULL
"""
_PURGED = """
SELECT count(*) FROM purged
 WHERE event_id IN (SELECT event_id FROM copy) OR event_id IN (SELECT event_id FROM announced)
"""
_FOUND = "SELECT count(*), coalesce(sum(copies - 1), 0) FROM stored JOIN copy USING (event_id)"
_MISSING = """
SELECT event_id FROM stored
 WHERE NOT EXISTS (SELECT 1 FROM copy WHERE copy.event_id = stored.event_id) ORDER BY position
"""
_UNKNOWN = "SELECT event_id FROM stray WHERE NOT is_other ORDER BY event_id"
_DIFFERENT = """
SELECT event_id FROM stored JOIN copy USING (event_id)
 WHERE copy.differs OR stored.digest <> copy.digest
UNION SELECT event_id FROM stray WHERE differs AND NOT is_other ORDER BY event_id
"""
_DELETED = """
SELECT event_id FROM announced
 WHERE event_id NOT IN (SELECT event_id FROM stored)
   AND event_id NOT IN (SELECT event_id FROM purged)
   AND event_id NOT IN (SELECT event_id FROM stray WHERE is_other) ORDER BY event_id
"""
_OTHERS = "SELECT trail, count(*) FROM stray WHERE is_other GROUP BY trail ORDER BY trail"

_T = TypeVar("_T")


class EventIds:
    """Ids and digests of bodies, in a temporary file beyond 16 MiB.

    Add everything first, the names last; then ask.

    Raises:
        AuditConfigError: there is no room for the temporary file.
    """

    def __init__(self) -> None:
        self._file = open_temporary_file(_COPY, cache_kib=_CACHE_KIB)
        for statement in _MORE_TABLES:
            self._file.execute(statement)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def add_announced(self, event_ids: Iterable[str]) -> None:
        """Add the ids that span events name."""
        self._add(_ADD_ANNOUNCED, ((_key(event_id),) for event_id in event_ids))

    def add_delivered(self, records: Iterable[Delivered]) -> None:
        """Add the copies of a destination."""
        rows = ((_key(one.event_id), _digest(one.body), one.trail or None) for one in records)
        self._add(_ADD_COPY, rows)

    def add_stored(self, bodies: Iterable[tuple[str, str]]) -> None:
        """Add the ids and bodies of the table, in its order."""
        numbered = enumerate(bodies)
        self._add(_ADD_STORED, ((_key(one), at, _digest(body)) for at, (one, body) in numbered))

    def add_purged(self, event_ids: Iterable[str]) -> None:
        """Add the ids of events whose rows a purge has removed."""
        self._add(_ADD_PURGED, ((_key(event_id),) for event_id in event_ids))

    def name_own(self, names: Collection[str]) -> None:
        """Add names of this trail; copies of its rows carry further ones."""
        self._add(_ADD_OWN, ((name,) for name in names))
        with explained():
            self._file.execute(_ADD_OWN_OF_ROWS)

    def count_stored(self) -> int:
        """Return the number of rows of the table."""
        return int(self._ask("SELECT count(*) FROM stored")[0][0])

    def count_announced(self) -> int:
        """Return the number of announced events."""
        return int(self._ask("SELECT count(*) FROM announced")[0][0])

    def count_found(self) -> tuple[int, int]:
        """Return the number of rows that have a copy, and of further copies of them."""
        [(found, duplicates)] = self._ask(_FOUND)
        return found, duplicates

    def count_purged(self) -> int:
        """Return the number of purged events that have a copy or were announced."""
        return int(self._ask(_PURGED)[0][0])

    def missing(self) -> list[str]:
        """Return the ids of rows without a copy, in the order of the table."""
        return self._ids(_MISSING)

    def unknown(self) -> list[str]:
        """Return the ids of this trail's copies without a row."""
        return self._ids(_UNKNOWN)

    def different(self) -> list[str]:
        """Return the ids whose body differs from the row's, or between copies."""
        return self._ids(_DIFFERENT)

    def deleted(self) -> list[str]:
        """Return the announced ids without a row."""
        return self._ids(_DELETED)

    def others(self) -> dict[str, int]:
        """Return the number of copies of other trails, by their names."""
        return dict(self._ask(_OTHERS))

    def _add(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        for some in _chunks(rows):
            with explained():
                self._file.execute("BEGIN")
                self._file.executemany(statement, some)
                self._file.execute("COMMIT")

    def _ids(self, statement: str) -> list[str]:
        return [bytes(key).decode("utf-8", "surrogatepass") for (key,) in self._ask(statement)]

    def _ask(self, statement: str) -> list[Any]:
        with explained():
            return self._file.execute(statement).fetchall()


def _chunks(rows: Iterable[_T]) -> Iterator[list[_T]]:
    waiting = iter(rows)
    while some := list(islice(waiting, _CHUNK)):
        yield some


def _key(event_id: str) -> bytes:
    return event_id.encode("utf-8", "surrogatepass")


def _digest(body: str | None) -> bytes | None:
    return body if body is None else hashlib.sha256(_key(body)).digest()
