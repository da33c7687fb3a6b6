"""What is known of the running transaction of a connection: who wrote which part of it.

When the context changes while a transaction is open, a position in the order of the staged changes
is noted which savepoints do not roll back. A change belongs to the last context that was noted at
or before its position.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Table, event

from auditspan.recorder import Surroundings

_KEY = "auditspan.capture.transaction"
_IN_TRANSACTION = 2
"""libpq's PQTRANS_INTRANS: in a transaction that has not failed."""

_PRECISION = timedelta(seconds=1)
"""How far from the statement the time may be that its records tell."""


@dataclass(kw_only=True)
class OpenTransaction:
    """Notes about one transaction.

    Attributes:
        floor: on SQLite, the newest id that others had staged before this transaction wrote.
        has_begun: a write has been noted.
        is_busy: auditspan itself is using the connection.
        has_written: since the last drain, something may have been staged.
    """

    floor: int = 0
    has_begun: bool = False
    is_busy: bool = False
    has_written: bool = False
    _contexts: list[tuple[int, Surroundings]] = field(default_factory=list)

    def begin(self, floor: int, surroundings: Surroundings) -> None:
        """Note the context of the first write; all that comes before another belongs to it."""
        self.has_begun, self.floor = True, floor
        self.note(0, surroundings)

    def needs(self, surroundings: Surroundings) -> bool:
        """Whether a position has to be noted, because the context is not the last one."""
        last = self._contexts[-1][1]
        return last[1:] != surroundings[1:] or surroundings.moment - last.moment > _PRECISION

    def note(self, position: int, surroundings: Surroundings) -> None:
        """Note that what is written from this position on belongs to this context."""
        self._contexts.append((position, surroundings))

    def at(self, position: int) -> Surroundings | None:
        """The context of a change; None where nobody noted one."""
        found = (one for start, one in reversed(self._contexts) if start <= position)
        return next(found, None)


def open_transaction(connection: Connection) -> OpenTransaction:
    """The notes about the connection's running transaction."""
    found: OpenTransaction | None = connection.info.get(_KEY)
    if found is None:
        found = connection.info[_KEY] = OpenTransaction()
    return found


def is_healthy(connection: Connection) -> bool:
    """Whether the driver reports an open transaction that has not failed."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return bool(driver.in_transaction)
    return bool(driver.info.transaction_status == _IN_TRANSACTION)


def begin_to_write(connection: Connection, staging: Table) -> int:
    """Take SQLite's lock for writing, and find out what others have staged before.

    The lock comes first: a read before it would make the first write fail where another has
    committed in between, and not wait for it.
    """
    if connection.dialect.name != "sqlite":
        return 0
    name = connection.dialect.identifier_preparer.format_table(staging)
    connection.exec_driver_sql(f"DELETE FROM {name} WHERE id = 0")  # noqa: S608 (a quoted name)
    newest = f"SELECT coalesce(max(id), 0) FROM {name} WHERE id > 0"  # noqa: S608
    return int(connection.exec_driver_sql(newest).scalar_one())


def position(connection: Connection, staging: Table) -> int:
    """A position behind all that is staged now, and at or before what will be."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        return int(driver.total_changes)
    name = connection.dialect.identifier_preparer.format_table(staging)
    sequence = f"SELECT nextval(pg_get_serial_sequence('{name}', 'id'))"
    return int(connection.exec_driver_sql(sequence).scalar_one())


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    connection.info.pop(_KEY, None)


@event.listens_for(Engine, "begin_twophase")
def _begin_twophase(connection: Connection, _xid: object) -> None:
    connection.info.pop(_KEY, None)
