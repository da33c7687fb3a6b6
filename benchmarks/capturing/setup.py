"""One subject on one database: engine, sessions and model, and what it keeps its trail in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session, sessionmaker

from capturing.accounts import MANY


@dataclass(kw_only=True)
class Setup:
    """Environment of a workload.

    Attributes:
        sessions: makes sessions that keep their objects' values after a commit.
        model: the model of accounts.
        trail: the table in which this subject keeps what it captured; None where it does not.
        after_statement: what has to be called by hand after a bulk statement, with its row count.
        body_size: how long the floor's row is, in characters.
    """

    engine: Engine
    sessions: sessionmaker[Session]
    model: Any
    trail: str | None = None
    after_statement: Callable[[Session, int], None] | None = None
    body_size: int = 0

    def reconnect(self) -> None:
        """Let go of the connection, and of the plans that the database has made on it."""
        self.engine.dispose()

    def captured(self) -> int:
        """Return the number of rows in the trail."""
        return int(self._scalar(f"SELECT count(*) FROM {self.trail}")) if self.trail else 0  # noqa: S608

    def mean_body(self, newest: int) -> int:
        """The mean length of the newest bodies of auditspan's rows, in characters."""
        last = f"SELECT body FROM audit_event ORDER BY id DESC LIMIT {newest}"  # noqa: S608
        return int(self._scalar(f"SELECT avg(length(body)) FROM ({last}) AS newest"))  # noqa: S608

    def make_many(self, size: int) -> int:
        """Make accounts past everything that listens; returns the id before the first of them."""
        before = int(self._scalar("SELECT coalesce(max(id), 0) FROM account"))
        cast = "::timestamp" if self.engine.dialect.name == "postgresql" else ""
        self._run(MANY.format(size=size, cast=cast))
        return before

    def _scalar(self, sql: str) -> Any:  # noqa: ANN401
        """One value, asked of the driver, which nothing listens on."""
        return self._run(sql)[0]

    def _run(self, sql: str) -> Any:  # noqa: ANN401
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            connection.commit()
            return row
        finally:
            connection.close()


def connect(url: str) -> tuple[Engine, sessionmaker[Session]]:
    """An engine whose commits are on disk when they return, and its sessions."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
    return engine, sessionmaker(engine, expire_on_commit=False)


def _durable(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
