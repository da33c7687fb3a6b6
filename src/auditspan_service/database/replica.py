"""The read replica: a streaming copy of the database that answers searches while it is available.

It is optional: whenever it fails, the primary answers instead. One warning is logged when it fails
and one line when it recovers; in between, one search every few seconds tries it again. Only that
search waits for it, and the searches that were running before the first warning.

Its answers may be slightly stale. To read your own writes, use the primary.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from opentelemetry.instrumentation.utils import suppress_instrumentation
from psycopg import Connection as PsycopgConnection
from psycopg import OperationalError as PsycopgError
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from auditspan.telemetry import without_values

CONNECT_SECONDS = 2
RETRY_SECONDS = 5.0
"""Time after a failure during which the replica is not used."""

PING_SECONDS = 2.0
ANSWER_SECONDS = 10.0
"""Time limit for a search; a server that hangs neither answers nor closes the connection."""

_OUTAGES = ("08", "42", "53", "57P")
"""SQLSTATE classes of a server that is unavailable or is not a replica: connection, unknown tables
and missing privileges, resources, shutdown and start."""

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[_T]):
    """Answer of the replica, which may be None."""

    value: _T


@dataclass(kw_only=True)
class Replica:
    """Replica that may be unavailable.

    Attributes:
        engine: the engine of the replica, see `make_impatient`.
        clock: a monotonic clock in seconds.
    """

    engine: Engine
    clock: Callable[[], float] = time.monotonic
    _retry_at: float | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def ask(self, read: Callable[[Connection], _T]) -> Answer[_T] | None:
        """Return the answer of `read` on the replica, or None if the primary must be used.

        `read` MUST only read, and MUST be safe to call a second time, on the primary.
        """
        if not self._is_worth_a_try():
            return None
        try:
            answer = self._read(read)
        except SQLAlchemyError as error:
            if is_outage(error):
                self._gone(error)
            return None
        self._back()
        return answer

    def dispose(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()

    def _read(self, read: Callable[[Connection], _T]) -> Answer[_T]:
        connection = self.engine.connect()
        try:
            return Answer(value=read(connection))
        finally:
            # As on the primary: the ROLLBACK of a reader undoes nothing and has no span.
            with suppress_instrumentation():
                connection.close()

    def _is_worth_a_try(self) -> bool:
        """Return whether it answered last time or is due for a retry, by one caller only."""
        with self._lock:
            if self._retry_at is None:
                return True
            if self.clock() < self._retry_at:
                return False
            self._retry_at = self.clock() + RETRY_SECONDS
            return True

    def _gone(self, error: SQLAlchemyError) -> None:
        with self._lock:
            is_news = self._retry_at is None
            self._retry_at = self.clock() + RETRY_SECONDS
        if is_news:
            _logger.warning(
                "the read replica does not answer (%s): the primary answers searches until it "
                "recovers",
                _reason(error),
            )

    def _back(self) -> None:
        with self._lock:
            was_gone = self._retry_at is not None
            self._retry_at = None
        if was_gone:
            _logger.info("the read replica answers again")


def is_outage(error: SQLAlchemyError) -> bool:
    """Return whether the server is unavailable, rather than only this statement refused.

    A replica cancels statements that conflict with its replay: the primary answers that search, and
    the next one uses the replica again.
    """
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or (isinstance(error, OperationalError) and state is None):
        return True
    return str(state).startswith(_OUTAGES)


def make_impatient(engine: Engine) -> Engine:
    """Set time limits on the connections of this PostgreSQL engine for a server that hangs."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkout", _let_answer)
    event.listen(engine, "checkin", _only_ping)
    return engine.execution_options(postgresql_readonly=True)


class _ImpatientConnection(PsycopgConnection[Any]):
    """Connection that waits for its server only until a time limit."""

    patience = PING_SECONDS

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **options: Any) -> _T:
        """Wait for an answer.

        Raises:
            psycopg.OperationalError: there was no answer in time; the connection is closed.
        """
        return super().wait(self._limited(gen), *args, **options)

    def _limited(self, gen: Generator[Any, Any, _T]) -> Generator[Any, Any, _T]:
        deadline = time.monotonic() + self.patience
        try:
            wanted = next(gen)
            while True:
                # The driver resumes this several times a second, even if no data has arrived.
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise PsycopgError(f"no answer within {self.patience:.0f} seconds")
                wanted = gen.send(ready)
        except StopIteration as end:
            value: _T = end.value
            return value


def _connect(
    _dialect: object, _entry: object, arguments: list[Any], options: dict[str, Any]
) -> DBAPIConnection:
    options["connect_timeout"] = min(
        CONNECT_SECONDS, int(options.get("connect_timeout", CONNECT_SECONDS))
    )
    connection: Any = _ImpatientConnection.connect(*arguments, **options)
    return connection  # type: ignore[no-any-return]


def _let_answer(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: object) -> None:
    connection.patience = ANSWER_SECONDS


def _only_ping(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    if connection is not None:
        connection.patience = PING_SECONDS


def _reason(error: SQLAlchemyError) -> str:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return " ".join(without_values(error.orig).split()).rstrip(".")
    return type(error).__name__
