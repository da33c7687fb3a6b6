"""Engines for PostgreSQL and SQLite with the same behaviour, and units of work on them.

A unit of work is one transaction: `Database.writing()` commits it or rolls it back,
`Database.reading()` cannot write. `Database.search()` uses a read replica if there is one. Both
databases guarantee:

- a writer waits for its turn before it reads anything. Otherwise SQLite would abort a transaction
  that reads first and writes later (SQLITE_BUSY, immediately, regardless of the timeout), so it
  starts with BEGIN IMMEDIATE; on PostgreSQL rows are locked one by one;
- a commit is on disk when it returns (`synchronous=FULL`; PostgreSQL's default);
- waiting for a lock or for a connection is limited, and ends with an error;
- an error contains no parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import URL, Connection, Engine, event, make_url, text
from sqlalchemy.engine.create import create_engine  # see undo_automatic_instrumentation
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from auditspan.storage import WAITS, set_up_sqlite
from auditspan.storage.dialects import PerDialect

if TYPE_CHECKING:
    from auditspan_service.database.replica import Replica

_T = TypeVar("_T")

_READ_ONLY: dict[str, Any] = {"postgresql_readonly": True}
"""Execution options of a reader, for PostgreSQL's dialect and for `set_up_sqlite`."""

_POOL: dict[str, Any] = {
    "pool_size": 10,
    "max_overflow": 10,
    "pool_timeout": 10,
    "pool_recycle": 1800,
}
_PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq's timeouts, without which a broken network path could block forever. In seconds, the last
in milliseconds. The URL can override them."""

READ_ONLY_STATE = "25006"
"""The SQLSTATE of a write in a read-only transaction."""

_RECOVERS = text(
    "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'"
)
_IS_READ_ONLY = PerDialect[Callable[[Connection], bool]](
    postgresql=lambda connection: bool(connection.execute(_RECOVERS).scalar_one()),
    sqlite=lambda _: False,
)

_SETTINGS = ("TIME ZONE 'UTC'", "lock_timeout = '10s'")
_POOLED = "auditspan.is_pooled"
"""Mark of connections through a pooler such as PgBouncer in transaction mode, where neither
settings nor prepared statements may remain on the server session. A pooler is detected by its
cancellation key, which does not contain the server's process id."""


def make_engine(database_url: str) -> Engine:
    """Create the engine of a database; it connects on first use."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    return _postgresql_engine(url)


@dataclass(frozen=True, kw_only=True)
class Database:
    """Database with units of work for writing and for reading.

    Attributes:
        engine: the engine of both; its event listeners receive events of readers and writers.
        reader: the same engine and pool, for read-only transactions.
        sessions: the session factory of writers, which an `AuditTrail` is attached to.
        replica: a copy that answers searches while it is available.
    """

    engine: Engine
    reader: Engine
    sessions: sessionmaker[Session]
    replica: Replica | None = None

    @classmethod
    def connect(cls, database_url: str, read_url: str | None = None) -> Database:
        """Create the database of this URL, with an optional replica."""
        engine = make_engine(database_url)
        return cls(
            engine=engine,
            reader=engine.execution_options(**_READ_ONLY),
            sessions=sessionmaker(engine, expire_on_commit=False),
            replica=_replica(read_url) if read_url else None,
        )

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a unit of work: committed when the block ends, rolled back if it raises."""
        with self.sessions.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session for reading; writes in it are refused."""
        session = Session(self.reader, autoflush=False)
        try:
            yield session
        except BaseException:
            _end(session, Session.close)
            raise
        _end(session, _commit)

    def search(self, read: Callable[[Connection], _T]) -> _T:
        """Return the result of `read`, on the replica if it answers, else on the primary.

        The result may be slightly stale. `read` MUST be safe to call twice.
        """
        answer = self.replica.ask(read) if self.replica else None
        if answer is not None:
            return answer.value
        with self.reading() as session:
            return read(session.connection())

    def dispose(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()
        if self.replica:
            self.replica.dispose()


def _end(session: Session, end: Callable[[Session], None]) -> None:
    """End a transaction that has only read: a span for it would be misleading."""
    with suppress_instrumentation():
        try:
            end(session)
        except DBAPIError:
            session.invalidate()  # the data has already been read


def _commit(session: Session) -> None:
    """Commit without a flush: after a ROLLBACK, psycopg prepares every statement again."""
    with session:
        session.expunge_all()
        if session.is_active:
            session.commit()


def _replica(read_url: str) -> Replica:
    # Imported here, because it needs PostgreSQL's driver, which may not be installed.
    from auditspan_service.database.replica import (
        Replica,
        make_impatient,
    )

    return Replica(engine=make_impatient(make_engine(read_url)))


def _sqlite_engine(url: URL) -> Engine:
    return set_up_sqlite(
        create_engine(url, hide_parameters=True, execution_options=dict(WAITS), **_POOL)
    )


def _postgresql_engine(url: URL) -> Engine:
    given = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    arguments = {"fallback_application_name": "auditspan", **given}
    engine = create_engine(
        url, hide_parameters=True, pool_pre_ping=True, connect_args=arguments, **_POOL
    )
    event.listen(engine, "connect", _configure_postgresql)
    event.listen(engine, "begin", _begin_pooled)
    event.listen(engine, "checkin", _leave_mode_to_server)
    event.listen(engine, "handle_error", _drop_demoted)
    return engine


def _leave_mode_to_server(connection: DBAPIConnection | None, _entry: ConnectionPoolEntry) -> None:
    """Reset the access mode, so that the next transaction does not begin with READ WRITE.

    SQLAlchemy would request it after a reader. It overrides `default_transaction_read_only`, and a
    standby refuses it with another SQLSTATE.
    """
    if connection is not None and not connection.closed:
        connection.read_only = None


def _drop_demoted(context: ExceptionContext) -> None:
    """Close the pooled connections if the server turns out to be read-only.

    After a failover they lead to the demoted primary; new connections reach the new primary. A
    reader that tries to write gets the same error, which does not concern the server.
    """
    state = getattr(context.original_exception, "sqlstate", None)
    options = context.connection.get_execution_options() if context.connection else {}
    if state == READ_ONLY_STATE and not options.get("postgresql_readonly"):
        context.is_disconnect = True


def is_read_only(connection: Connection) -> bool:
    """Return whether the server is read-only: a standby, or configured to be."""
    return _IS_READ_ONLY.of(connection)(connection)


def _configure_postgresql(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    # Set by statements and not by libpq's `options`, which the URL may use and PgBouncer refuses.
    cursor = connection.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    is_pooled = cursor.fetchone() != (connection.info.backend_pid,)
    entry.info[_POOLED] = is_pooled
    if is_pooled:
        connection.prepare_threshold = None
    else:
        cursor.execute("; ".join(f"SET {setting}" for setting in _SETTINGS))
    cursor.close()
    connection.commit()


def _begin_pooled(connection: Connection) -> None:
    """Apply the settings to this transaction only; behind a pooler they could leak or get lost."""
    if connection.info.get(_POOLED):
        with suppress_instrumentation():
            connection.exec_driver_sql("; ".join(f"SET LOCAL {setting}" for setting in _SETTINGS))
