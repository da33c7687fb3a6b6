"""Reading the trail through whatever a test has at hand, without disturbing it."""

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
    """The row id of the last event there is; 0 for none."""
    return connection.scalar(select(func.max(tables.event.c.id))) or 0


def events_after(row_id: int) -> Reader[list[Event]]:
    """A reader of all events after this one, oldest first."""

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
    """What the reader finds through this bind, an open transaction's changes included.

    Raises:
        AuditConfigError: looking would end a transaction that is not ours.
        AuditWriteError: the changes of the open transaction cannot be recorded.
        MissingActorError: nobody said who made them.
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
    """What the reader finds through this bind, as `read`."""
    # SQLAlchemy 2.1 imports it only where greenlet is installed.
    from sqlalchemy.ext.asyncio import (  # noqa: PLC0415 (see above)
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
    """Where to look; through a session, its transaction if it has one, else where it would go."""
    if isinstance(bind, Engine | Connection):
        return bind
    session: Session = bind if isinstance(bind, Session) else bind()
    if session.in_transaction():
        return session.connection(bind_arguments={"clause": tables.event})
    return session.get_bind(clause=tables.event)


def require_room(engine: Engine) -> None:
    """Refuse an engine whose only connection is in the middle of something.

    SQLite in memory has one connection, for a thread or for all. To give it back after reading
    would roll back whatever transaction is open on it, without a word.
    """
    driver: Any = None
    if isinstance(engine.pool, StaticPool):
        made = vars(engine.pool).get("connection")  # asking the pool would make it
        driver = getattr(made, "driver_connection", None)
    elif isinstance(engine.pool, SingletonThreadPool):
        with engine.connect() as connection:  # counted: it goes on for whoever else has it
            driver = connection.connection.driver_connection
    if getattr(driver, "in_transaction", False):
        raise AuditConfigError(
            "this engine has one connection, and a transaction is open on it, which looking would "
            "end: look through its session or connection, or when it has ended"
        )
