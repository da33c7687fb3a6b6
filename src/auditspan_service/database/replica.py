"""The read replica: a streaming copy of the database that answers searches, while it is there.

It is a help and never a dependency. Whatever goes wrong with it, the primary answers instead: one
warning when it is gone, one line when it is back, and between the two one try every few seconds.
Only that one waits for it then, and before the first warning the searches that are under way.

What it answers may be some moments old. Whoever must see their own write asks the primary.
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

from auditspan_service.telemetry.exception_text import without_values

CONNECT_SECONDS = 2
RETRY_SECONDS = 5.0
"""Seconds after a failure in which the replica is not asked."""

PING_SECONDS = 2.0
ANSWER_SECONDS = 10.0
"""Seconds that a search may take; a server that hangs says nothing, and closes nothing either."""

_OUTAGES = ("08", "42", "53", "57P")
"""SQLSTATE classes of a server that is not there, or is none of ours: connection, unknown tables
and missing rights, resources, shutdown and start."""

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[_T]):
    """What the replica answered; None may be the answer."""

    value: _T


@dataclass(kw_only=True)
class Replica:
    """A replica that may be gone.

    Attributes:
        engine: its engine, see `make_impatient`.
        clock: seconds that only go forward.
    """

    engine: Engine
    clock: Callable[[], float] = time.monotonic
    _retry_at: float | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def ask(self, read: Callable[[Connection], _T]) -> Answer[_T] | None:
        """What `read` finds there, or None where the primary has to be asked.

        `read` MUST only read, and MUST NOT mind being called a second time, on the primary.
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
            # As with the primary: the ROLLBACK of a reader undoes nothing, and has no span.
            with suppress_instrumentation():
                connection.close()

    def _is_worth_a_try(self) -> bool:
        """Whether it answered last time, or is to be tried again; then by one caller only."""
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
                "the read replica does not answer (%s): the primary answers searches until it is "
                "back",
                _reason(error),
            )

    def _back(self) -> None:
        with self._lock:
            was_gone = self._retry_at is not None
            self._retry_at = None
        if was_gone:
            _logger.info("the read replica answers again")


def is_outage(error: SQLAlchemyError) -> bool:
    """Whether the server is gone, and not only this one statement refused.

    A replica cancels statements that stand in the way of what it has to replay: the primary answers
    that one, and the next goes to the replica again.
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
    """Have connections of this PostgreSQL engine give up on a server that does not answer."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkout", _let_answer)
    event.listen(engine, "checkin", _only_ping)
    return engine.execution_options(postgresql_readonly=True)


class _ImpatientConnection(PsycopgConnection[Any]):
    """A connection that waits for its server, but not for ever."""

    patience = PING_SECONDS

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **options: Any) -> _T:  # noqa: ANN401 (as the driver has it, which differs by its release)
        """Wait for an answer.

        Raises:
            psycopg.OperationalError: there was none in time; the connection is closed.
        """
        return super().wait(self._limited(gen), *args, **options)

    def _limited(self, gen: Generator[Any, Any, _T]) -> Generator[Any, Any, _T]:
        deadline = time.monotonic() + self.patience
        try:
            wanted = next(gen)
            while True:
                # The driver comes here several times a second, also when nothing has arrived.
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


def _let_answer(connection: Any, _entry: ConnectionPoolEntry, _proxy: object) -> None:  # noqa: ANN401 (ours, by way of SQLAlchemy)
    connection.patience = ANSWER_SECONDS


def _only_ping(connection: Any, _entry: ConnectionPoolEntry) -> None:  # noqa: ANN401 (as above)
    if connection is not None:
        connection.patience = PING_SECONDS


def _reason(error: SQLAlchemyError) -> str:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return " ".join(without_values(error.orig).split()).rstrip(".")
    return type(error).__name__
