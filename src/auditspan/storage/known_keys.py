"""Keys of subjects that a process remembers, so that most commits need no query for them.

An erasure, which may happen in another process, or a rollback removes a key from the database and
not from here. So disclosures are inserted only if their key is still stored. A key is forgotten
after some minutes, so that a copy of the memory has few of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect

from auditspan.format import ErasureKey, Subject
from auditspan.storage.schemas import dialect_of, schema_in
from auditspan.storage.subject_keys import SubjectKey
from auditspan.storage.tables import AuditTables

_MOST = 1000
_SECONDS = 300.0


@dataclass(kw_only=True)
class KnownKeys:
    """The keys of one trail in one database.

    Attributes:
        seconds: the time for which a key is remembered.
        clock: a monotonic clock in seconds.
    """

    seconds: float = _SECONDS
    clock: Callable[[], float] = time.monotonic
    _known: dict[Subject, tuple[float, SubjectKey]] = field(default_factory=dict, init=False)

    def find(self, subjects: Iterable[Subject]) -> dict[Subject, SubjectKey]:
        """Return the remembered keys of these subjects."""
        now, found = self.clock(), {}
        for subject in subjects:
            until, key = self._known.get(subject, (now, None))
            if key is not None and now < until:
                found[subject] = key
        return found

    def remember(self, keys: Mapping[Subject, SubjectKey]) -> None:
        """Remember keys, from now on."""
        if len(self._known) + len(keys) > _MOST:
            self._known = {}
        until = self.clock() + self.seconds
        self._known.update({subject: (until, key) for subject, key in keys.items()})

    def forget(self, subjects: Iterable[Subject]) -> None:
        """Forget the keys of these subjects."""
        for subject in subjects:
            self._known.pop(subject, None)


_Owner = tuple[str | None, str]
"""A schema, and the id of an erasure key."""

_by_database: WeakKeyDictionary[Dialect, dict[_Owner, KnownKeys]] = WeakKeyDictionary()


def known_keys(connection: Connection, tables: AuditTables, erasure_key: ErasureKey) -> KnownKeys:
    """Return the keys that are remembered for the engine of this connection."""
    schema = schema_in(dialect_of(connection), tables.subject_key)
    found = _by_database.setdefault(connection.dialect, {})
    return found.setdefault((schema, erasure_key.key_id), KnownKeys())
