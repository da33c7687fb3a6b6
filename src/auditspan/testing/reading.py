"""Reading of the trail through an engine, connection or session, without disturbing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from auditspan.capture import drain_now
from auditspan.errors import AuditConfigError
from auditspan.storage import AuditTables, EventFilter, find_events
from auditspan.testing.event import Event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import (
        AsyncConnection,
        AsyncEngine,
        AsyncSession,
        async_scoped_session,
        async_sessionmaker,
    )

    AsyncBind = (
        AsyncEngine
        | AsyncConnection
        | AsyncSession
        | async_scoped_session[Any]
        | async_sessionmaker[Any]
    )

Bind = Engine | Connection | Session | scoped_session[Any] | sessionmaker[Any]
T = TypeVar("T")
Reader = Callable[[Connection, AuditTables], T]

_PAGE = 1000


def newest(connection: Connection, tables: AuditTables) -> int:
    """Return the row id of the last event; 0 if there is none."""
    return connection.scalar(select(func.max(tables.event.c.id))) or 0


def events_after(row_id: int) -> Reader[list[Event]]:
    """Return a reader of all events after this one, oldest first."""

    def since(connection: Connection, tables: AuditTables) -> list[Event]:
        found: list[Event] = []
        after = row_id
        while True:
            page = find_events(connection, tables, EventFilter(), after=after, limit=_PAGE)
            found += [Event(event.resource()) for event in page]
            if len(page) < _PAGE:
                return found
            after = page[-1].row_id

    return since


def read(bind: Bind, tables: AuditTables, reader: Reader[T]) -> T:
    """Read through this bind, including the changes of its open transaction.

    Raises:
        AuditConfigError: reading would end a transaction of the application.
        AuditWriteError: the changes of the open transaction cannot be recorded.
        MissingActorError: no actor is set for these changes.
    """
    found = _resolved(bind, tables)
    if isinstance(found, Engine):
        require_room(found)
        with found.connect() as connection:
            return reader(connection, tables)
    if found.in_transaction():
        drain_now(found)
        return reader(found, tables)
    with found.begin():
        return reader(found, tables)


async def read_async(bind: AsyncBind, tables: AuditTables, reader: Reader[T]) -> T:
    """Read through this async bind, like `read`."""
    # SQLAlchemy 2.1 imports it only if greenlet is installed.
    from sqlalchemy.ext.asyncio import (
        AsyncConnection,
        AsyncEngine,
        AsyncSession,
    )

    if isinstance(bind, AsyncEngine):
        require_room(bind.sync_engine)
        async with bind.connect() as connection:
            return await connection.run_sync(read, tables, reader)
    if isinstance(bind, AsyncConnection):
        return await bind.run_sync(read, tables, reader)
    session: AsyncSession = bind if isinstance(bind, AsyncSession) else bind()
    return await session.run_sync(read, tables, reader)


def _resolved(bind: Bind, tables: AuditTables) -> Engine | Connection:
    """Return the engine or connection of a bind; for a session in a transaction, its connection."""
    if isinstance(bind, Engine | Connection):
        return bind
    session: Session = bind if isinstance(bind, Session) else bind()
    if session.in_transaction():
        return session.connection(bind_arguments={"clause": tables.event})
    return session.get_bind(clause=tables.event)


def require_room(engine: Engine) -> None:
    """Refuse an engine whose only connection has an open transaction.

    SQLite in memory has one connection, per thread or for all threads. Returning it to the pool
    after reading would silently roll back the open transaction on it.

    Raises:
        AuditConfigError: a transaction is open on the only connection.
    """
    driver: Any = None
    if isinstance(engine.pool, StaticPool):
        made = vars(engine.pool).get("connection")  # asking the pool would create it
        driver = getattr(made, "driver_connection", None)
    elif isinstance(engine.pool, SingletonThreadPool):
        with engine.connect() as connection:  # reference-counted: stays open for others
            driver = connection.connection.driver_connection
    if getattr(driver, "in_transaction", False):
        raise AuditConfigError(
            "a transaction is open on the only connection of this engine, and reading would end "
            "it: read through its session or connection, or after it has ended"
        )
