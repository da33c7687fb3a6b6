"""Rollback-per-test: work that commits as ever, and of which nothing is left."""

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
    """Undo at the end of the block whatever these sessions do in it, commits included.

    SQLAlchemy's recipe for test suites: one connection, an outer transaction on it, and every
    session joins that with a savepoint. Other connections see none of it, and no span hears of it,
    since nothing is ever committed. One connection is for one thread at a time.

    A session's commit records its changes, and is refused where a real one would be.

    Args:
        engine: where the connection comes from.
        sessions: the factory; sessions that it made before are not affected.

    Yields:
        The connection, on which `captured` sees what the sessions have written.
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
