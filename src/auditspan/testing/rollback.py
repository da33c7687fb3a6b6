"""Rollback-per-test: sessions commit as usual, and everything is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from auditspan.capture import drain_now


@contextmanager
def rolled_back(
    engine: Engine, sessions: sessionmaker[Any] | scoped_session[Any]
) -> Iterator[Connection]:
    """Roll back everything that these sessions do in the block, commits included.

    This is SQLAlchemy's recipe for test suites: one connection with an outer transaction, which
    every session joins with a savepoint. Nothing is ever committed, so other connections see no
    changes and spans get no events. One connection is for one thread at a time.

    A session's commit records its changes, and is refused if a real one would be.

    Args:
        engine: the engine to connect to.
        sessions: the factory; sessions that it made before are not affected.

    Yields:
        The connection, on which `captured` sees the events of the sessions.
    """
    factory = sessions.session_factory if isinstance(sessions, scoped_session) else sessions
    before = dict(factory.kw)
    with engine.connect() as connection:
        outer = connection.begin()

        def drain_before_commit(session: Session) -> None:
            if not session.in_nested_transaction():
                session.flush()
                drain_now(connection)

        factory.configure(bind=connection, join_transaction_mode="create_savepoint")
        event.listen(factory, "before_commit", drain_before_commit)
        try:
            yield connection
        finally:
            event.remove(factory, "before_commit", drain_before_commit)
            factory.kw.clear()
            factory.kw.update(before)
            if outer.is_active:
                outer.rollback()
