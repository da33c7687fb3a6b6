"""What is known of the running transaction of a connection: who wrote which part of it.

When the context changes while a transaction is open, a position in the order of the staged changes
is noted which savepoints do not roll back. A change belongs to the last context that was noted at
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
from sqlalchemy.exc import OperationalError

from auditspan.capture.recorder import Surroundings
from auditspan.storage import dialect_of

_KEY = "auditspan.capture.transaction"
_BUSY = "auditspan.capture.busy"
_IN_TRANSACTION = 2
"""libpq's PQTRANS_INTRANS: in a transaction that has not failed."""

_PRECISION = timedelta(seconds=1)
"""How far from the statement the time may be that its records tell."""


class Origin(NamedTuple):
    """Where a change comes from.

    Attributes:
        surroundings: when, who, in which request and trace.
        unaudited: why its rows are only counted; None where each is told.
        is_migration: they are counted because a migration writes them.
    """

    surroundings: Surroundings
    unaudited: str | None = None
    is_migration: bool = False


@dataclass(kw_only=True)
class OpenTransaction:
    """Notes about one transaction.

    Attributes:
        floor: on SQLite, the newest id that others had staged before this transaction wrote.
        has_begun: a write has been noted.
        is_busy: auditspan itself is using the connection.
        written: the metadatas of which something may have been staged since the last drain.
        peers: the connections of the session that this one belongs to.
        touched: names, in lower case, of tables whose triggers are to be made again.
        is_migrated: whether Alembic migrates in it; None where nobody has asked.
        can_record: in a migration, by schema, whether the audit tables exist, as far as known.
    """

    floor: int = 0
    has_begun: bool = False
    is_busy: bool = False
    written: set[MetaData] = field(default_factory=set)
    peers: WeakSet[Connection] = field(default_factory=WeakSet)
    touched: set[str] = field(default_factory=set)
    is_migrated: bool | None = None
    can_record: dict[str | None, bool] = field(default_factory=dict)
    _origins: list[tuple[int, Origin]] = field(default_factory=list)

    def begin(self, floor: int, origin: Origin) -> None:
        """Note where the first write comes from; all before another context belongs to it."""
        self.has_begun, self.floor = True, floor
        self.note(0, origin)

    def needs(self, origin: Origin) -> bool:
        """Whether a position has to be noted, because the context is not the last one."""
        last = self._origins[-1][1]
        is_counted = origin.is_migration or origin.unaudited is not None
        moved = origin.surroundings.moment - last.surroundings.moment > _PRECISION
        is_new = last[1:] != origin[1:] or last.surroundings[1:] != origin.surroundings[1:]
        return is_new or (moved and not is_counted)

    def note(self, position: int, origin: Origin) -> None:
        """Note that what is written from this position on comes from here."""
        self._origins.append((position, origin))

    def at(self, position: int) -> Origin | None:
        """Where a change comes from; None where nobody noted it."""
        found = (one for start, one in reversed(self._origins) if start <= position)
        return next(found, None)


def open_transaction(connection: Connection) -> OpenTransaction:
    """The notes about the connection's running transaction."""
    found: OpenTransaction | None = connection.info.get(_KEY)
    if found is None:
        found = connection.info[_KEY] = OpenTransaction()
    return found


@contextmanager
def busy(connection: Connection) -> Iterator[None]:
    """Note that what runs inside is auditspan's own."""
    info, transaction = connection.info, open_transaction(connection)
    before, transaction.is_busy = transaction.is_busy, True
    info[_BUSY] = info.get(_BUSY, 0) + 1
    try:
        yield
    finally:
        info[_BUSY] -= 1
        for one in (transaction, info.get(_KEY, transaction)):  # it may have begun inside
            one.is_busy = before


def is_healthy(connection: Connection) -> bool:
    """Whether the driver reports an open transaction that has not failed."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return bool(driver.in_transaction)
    return bool(driver.info.transaction_status == _IN_TRANSACTION)


def is_read_only(connection: Connection) -> bool:
    """Whether nothing can be staged, nor a position be noted."""
    return bool(connection.get_execution_options().get("postgresql_readonly"))


def is_autocommit(connection: Connection) -> bool:
    """Whether every statement commits by itself: the worker records what such statements change."""
    if connection.dialect.name == "sqlite":
        return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    driver: Any = connection.connection.driver_connection
    return bool(getattr(driver, "autocommit", False))


def begin_to_write(connection: Connection, staging: Table) -> int | None:
    """Take SQLite's lock for writing, and find out what others have staged before.

    None where this connection cannot write.

    The lock comes first: a read before it would make the first write fail where another has
    committed in between, and not wait for it.
    """
    if connection.dialect.name != "sqlite":
        return 0
    name = connection.dialect.identifier_preparer.format_table(staging)
    try:
        connection.exec_driver_sql(f"DELETE FROM {name} WHERE id = 0")  # noqa: S608 (a quoted name)
    except OperationalError as error:
        if "readonly" not in str(error.orig):
            raise
        return None
    newest = f"SELECT coalesce(max(id), 0) FROM {name} WHERE id > 0"  # noqa: S608
    return int(connection.exec_driver_sql(newest).scalar_one())


def position(connection: Connection, staging: Table) -> int:
    """A position behind all that is staged now, and at or before what will be."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        return int(driver.total_changes)
    name = dialect_of(connection).identifier_preparer.format_table(staging)
    sequence = f"SELECT nextval(pg_get_serial_sequence('{name}', 'id'))"
    return int(connection.exec_driver_sql(sequence).scalar_one())


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    connection.info[_KEY] = OpenTransaction(is_busy=connection.info.get(_BUSY, 0) > 0)


@event.listens_for(Engine, "begin_twophase")
def _begin_twophase(connection: Connection, _xid: object) -> None:
    _begin(connection)
