"""State of a connection's running transaction: the context of each part of it, and its journal.

It belongs to the connection and not to the session, since only the connection knows when the
database has committed: a session may join an outer transaction, two sessions may share one, and
statements on a bare connection have no session at all.

When the context changes while a transaction is open, a position in the order of the staged changes
is noted, which savepoints do not roll back. A change belongs to the last context that was noted at
or before its position.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from weakref import ReferenceType, ref

from sqlalchemy import Connection, MetaData

from auditspan.capture.journal import Journal
from auditspan.capture.origin import Origin, is_same_context

_KEY = "auditspan.capture.transaction"
_PRECISION = timedelta(seconds=1)
"""The maximum difference between the time of a statement and the time in its records."""

Info = MutableMapping[Any, Any]
"""`Connection.info`, which belongs to the driver's connection and is emptied when that is lost."""


class Busy(AbstractContextManager[None]):
    """Blocks of auditspan's own statements, in which transactions may begin and end."""

    blocks = 0

    def __enter__(self) -> None:
        self.blocks += 1

    def __exit__(self, *_error: object) -> None:
        self.blocks -= 1


@dataclass(eq=False)
class OpenTransaction:
    """State of one transaction.

    Attributes:
        busy: the blocks in which auditspan itself uses the connection.
        connection: the connection, which the pool may lend to others later.
        is_creating: whether `create_all` or `drop_all` uses the connection.
        floor: on SQLite, the newest id that others had staged before this transaction wrote.
        journal: the records that are not yet announced; None if there are none, and no savepoints.
        written: the metadata whose tables may have staged changes since the last drain.
        peers: the connections of the session that this one belongs to.
        touched: names, in lower case, of tables whose triggers must be created again.
        is_migrated: whether Alembic migrates in it; None if not looked up yet.
        can_record: in a migration, by schema, whether the audit tables exist, as far as known.
    """

    busy: Busy
    connection: ReferenceType[Connection]
    is_creating: bool = False
    floor: int = 0
    journal: Journal | None = None
    written: set[MetaData] = field(default_factory=set)
    peers: Collection[ReferenceType[Connection]] = ()
    touched: set[str] = field(default_factory=set)
    is_migrated: bool | None = None
    can_record: dict[str | None, bool] = field(default_factory=dict)
    _origins: list[tuple[int, Origin]] = field(default_factory=list)
    _tx_id: str | None = None

    @property
    def is_busy(self) -> bool:
        """True while auditspan itself, `create_all` or `drop_all` uses the connection."""
        return self.busy.blocks > 0 or self.is_creating

    @property
    def has_begun(self) -> bool:
        """True if a write has been noted."""
        return bool(self._origins)

    def opened_journal(self) -> Journal:
        """Return the journal, a new one if there was none."""
        if self.journal is None:
            self.journal = Journal()
        return self.journal

    def tx_id(self, new_id: Callable[[], str]) -> str:
        """Return the id of the transaction, one for all its savepoints."""
        self._tx_id = self._tx_id or new_id()
        return self._tx_id

    def needs(self, origin: Origin) -> bool:
        """Return whether a position must be noted, because the context has changed."""
        last = self._origins[-1][1]
        moved = origin.moment - last.moment > _PRECISION
        return not is_same_context(last, origin) or (moved and not origin.is_counted)

    def note(self, position: int, origin: Origin) -> None:
        """Note the origin of changes from this position on: 0 for the first write."""
        self._origins.append((position, origin))

    def at(self, position: int) -> Origin:
        """Return the origin of a change; a write MUST have been noted."""
        for start, origin in reversed(self._origins):
            if start <= position:
                return origin
        return self._origins[0][1]


def open_transaction(connection: Connection) -> OpenTransaction:
    """Return the state of the connection's running transaction."""
    info = connection.info
    found = opened(info)
    if found is None:
        found = info[_KEY] = OpenTransaction(Busy(), ref(connection))
    found.connection = ref(connection)
    return found


def opened(info: Info) -> OpenTransaction | None:
    """Return the state of the running transaction; None if nothing was done in it."""
    found: OpenTransaction | None = info.get(_KEY)
    return found


def end(info: Info) -> OpenTransaction | None:
    """Take the state of the transaction that has ended; the next one may begin in a busy block."""
    ended: OpenTransaction | None = info.pop(_KEY, None)
    if ended is not None and ended.busy.blocks:
        info[_KEY] = OpenTransaction(ended.busy, ended.connection)
    return ended


def busy(connection: Connection) -> AbstractContextManager[None]:
    """Mark the statements inside the block as auditspan's own."""
    return open_transaction(connection).busy


def is_read_only(connection: Connection) -> bool:
    """Return whether the connection is read-only, so that nothing can be staged or noted."""
    return bool(connection.get_execution_options().get("postgresql_readonly"))
