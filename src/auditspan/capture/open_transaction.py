"""State of a connection's running transaction: the context of each part of it.

When the context changes while a transaction is open, a position in the order of the staged changes
is noted, which savepoints do not roll back. A change belongs to the last context that was noted at
or before its position.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple
from weakref import WeakSet

from sqlalchemy import Connection, Engine, MetaData, Table, event

from auditspan.capture.recorder import Surroundings

_KEY = "auditspan.capture.transaction"
_BUSY = "auditspan.capture.busy"
_PRECISION = timedelta(seconds=1)
"""The maximum difference between the time of a statement and the time in its records."""


class Origin(NamedTuple):
    """The context that a change was written in.

    Attributes:
        surroundings: the time, actor, request and trace.
        unaudited: the reason why its rows are only counted; None if each is recorded.
        is_migration: whether the rows are counted because a migration writes them.
    """

    surroundings: Surroundings
    unaudited: str | None = None
    is_migration: bool = False


@dataclass(kw_only=True)
class OpenTransaction:
    """State of one transaction.

    Attributes:
        floor: on SQLite, the newest id that others had staged before this transaction wrote.
        has_begun: whether a write has been noted.
        is_busy: whether auditspan itself is using the connection.
        written: the metadata whose tables may have staged changes since the last drain.
        peers: the connections of the session that this one belongs to.
        touched: names, in lower case, of tables whose triggers must be created again.
        is_migrated: whether Alembic migrates in it; None if not looked up yet.
        can_record: in a migration, by schema, whether the audit tables exist, as far as known.
        checked: what was found out before a write to a table, for further writes to it.
        options: the options of the connection when it was found out.
    """

    floor: int = 0
    has_begun: bool = False
    is_busy: bool = False
    written: set[MetaData] = field(default_factory=set)
    peers: WeakSet[Connection] = field(default_factory=WeakSet)
    touched: set[str] = field(default_factory=set)
    is_migrated: bool | None = None
    can_record: dict[str | None, bool] = field(default_factory=dict)
    checked: dict[Table, Any] = field(default_factory=dict)
    options: object = None
    _origins: list[tuple[int, Origin]] = field(default_factory=list)

    def begin(self, floor: int, origin: Origin) -> None:
        """Note the origin of the first write; changes before the next origin belong to it."""
        self.has_begun, self.floor = True, floor
        self.note(0, origin)

    def needs(self, origin: Origin) -> bool:
        """Return whether a position must be noted, because the context has changed."""
        last = self._origins[-1][1]
        is_counted = origin.is_migration or origin.unaudited is not None
        moved = origin.surroundings.moment - last.surroundings.moment > _PRECISION
        is_new = last[1:] != origin[1:] or last.surroundings[1:] != origin.surroundings[1:]
        return is_new or (moved and not is_counted)

    def note(self, position: int, origin: Origin) -> None:
        """Note the origin of changes from this position on."""
        self._origins.append((position, origin))

    def checked_for(self, options: object) -> dict[Table, Any]:
        """Return `checked`, which is empty after the options of the connection have changed."""
        if self.options is not options:
            self.checked, self.options = {}, options
        return self.checked

    def at(self, position: int) -> Origin | None:
        """Return the origin of a change; None if none was noted."""
        for start, origin in reversed(self._origins):
            if start <= position:
                return origin
        return None


def open_transaction(connection: Connection) -> OpenTransaction:
    """Return the state of the connection's running transaction."""
    found: OpenTransaction | None = connection.info.get(_KEY)
    if found is None:
        found = connection.info[_KEY] = OpenTransaction()
    return found


@contextmanager
def busy(connection: Connection) -> Iterator[None]:
    """Mark the statements inside the block as auditspan's own."""
    info, transaction = connection.info, open_transaction(connection)
    before, transaction.is_busy = transaction.is_busy, True
    info[_BUSY] = info.get(_BUSY, 0) + 1
    try:
        yield
    finally:
        info[_BUSY] -= 1
        for one in (transaction, info.get(_KEY, transaction)):  # it may have begun inside
            one.is_busy = before


def is_read_only(connection: Connection) -> bool:
    """Return whether the connection is read-only, so that nothing can be staged or noted."""
    return bool(connection.get_execution_options().get("postgresql_readonly"))


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    connection.info[_KEY] = OpenTransaction(is_busy=connection.info.get(_BUSY, 0) > 0)


@event.listens_for(Engine, "begin_twophase")
def _begin_twophase(connection: Connection, _xid: object) -> None:
    _begin(connection)
