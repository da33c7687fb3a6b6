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
from weakref import ReferenceType

from sqlalchemy import Connection, MetaData

from auditspan.capture.journal import Journal
from auditspan.capture.origin import Origin, is_same_context

_KEY = "auditspan.capture.transaction"
_PRECISION = timedelta(seconds=1)
"""The maximum difference between the time of a statement and the time in its records."""

Info = MutableMapping[Any, Any]
"""`Connection.info`, which belongs to the driver's connection and is emptied when that is lost."""


@dataclass(kw_only=True, eq=False)
class OpenTransaction:
    """State of one transaction.

    Attributes:
        floor: on SQLite, the newest id that others had staged before this transaction wrote.
        has_begun: whether a write has been noted.
        busy_blocks: how many blocks are open in which auditspan itself uses the connection.
        is_creating: whether `create_all` or `drop_all` uses the connection.
        written: the metadata whose tables may have staged changes since the last drain.
        peers: the connections of the session that this one belongs to.
        touched: names, in lower case, of tables whose triggers must be created again.
        is_migrated: whether Alembic migrates in it; None if not looked up yet.
        can_record: in a migration, by schema, whether the audit tables exist, as far as known.
    """

    floor: int = 0
    has_begun: bool = False
    busy_blocks: int = 0
    is_creating: bool = False
    written: set[MetaData] = field(default_factory=set)
    peers: Collection[ReferenceType[Connection]] = ()
    touched: set[str] = field(default_factory=set)
    is_migrated: bool | None = None
    can_record: dict[str | None, bool] = field(default_factory=dict)
    _origins: list[tuple[int, Origin]] = field(default_factory=list)
    _tx_id: str | None = None
    _journal: Journal | None = None

    @property
    def journal(self) -> Journal:
        """The records that are not yet announced."""
        if self._journal is None:
            self._journal = Journal()
        return self._journal

    @property
    def has_journal(self) -> bool:
        """True if there may be records, or savepoints."""
        return self._journal is not None

    @property
    def is_busy(self) -> bool:
        """True while auditspan itself, `create_all` or `drop_all` uses the connection."""
        return self.busy_blocks > 0 or self.is_creating

    def tx_id(self, new_id: Callable[[], str]) -> str:
        """Return the id of the transaction, one for all its savepoints."""
        self._tx_id = self._tx_id or new_id()
        return self._tx_id

    def begin(self, floor: int, origin: Origin) -> None:
        """Note the origin of the first write; changes before the next origin belong to it."""
        self.has_begun, self.floor = True, floor
        self.note(0, origin)

    def needs(self, origin: Origin) -> bool:
        """Return whether a position must be noted, because the context has changed."""
        last = self._origins[-1][1]
        moved = origin.moment - last.moment > _PRECISION
        return not is_same_context(last, origin) or (moved and not origin.is_counted)

    def note(self, position: int, origin: Origin) -> None:
        """Note the origin of changes from this position on."""
        self._origins.append((position, origin))

    def at(self, position: int) -> Origin | None:
        """Return the origin of a change; None if none was noted."""
        for start, origin in reversed(self._origins):
            if start <= position:
                return origin
        return None


def open_transaction(connection: Connection) -> OpenTransaction:
    """Return the state of the connection's running transaction."""
    info = connection.info
    found: OpenTransaction | None = info.get(_KEY)
    return begin(info) if found is None else found


def begin(info: Info) -> OpenTransaction:
    """Return the state of a new transaction, which may begin in a busy block."""
    last = end(info)
    begun = info[_KEY] = OpenTransaction(busy_blocks=last.busy_blocks if last else 0)
    return begun


def end(info: Info) -> OpenTransaction | None:
    """Take the state of the transaction that has ended, if its state is known."""
    ended: OpenTransaction | None = info.pop(_KEY, None)
    if ended is not None and ended.busy_blocks:
        info[_KEY] = OpenTransaction(busy_blocks=ended.busy_blocks)
    return ended


class _Busy(AbstractContextManager[None]):
    """Block of auditspan's own statements, in which transactions may begin and end."""

    def __init__(self, connection: Connection) -> None:
        self._info = connection.info
        self._transaction = open_transaction(connection)

    def __enter__(self) -> None:
        self._transaction.busy_blocks += 1

    def __exit__(self, *_error: object) -> None:
        now = self._info.get(_KEY, self._transaction)
        now.busy_blocks = max(now.busy_blocks - 1, 0)


def busy(connection: Connection) -> AbstractContextManager[None]:
    """Mark the statements inside the block as auditspan's own."""
    return _Busy(connection)


def is_read_only(connection: Connection) -> bool:
    """Return whether the connection is read-only, so that nothing can be staged or noted."""
    return bool(connection.get_execution_options().get("postgresql_readonly"))
