"""`rolled_back`: commits inside, nothing outside."""

from __future__ import annotations

from contextvars import Context

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from auditspan import AuditTrail, MissingActorError
from auditspan.testing import captured, rolled_back
from integration.testing.notes import Note, left, words, write


def test_nothing_is_left_of_a_rolled_back_test(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Commits, rollbacks and savepoints are as ever inside, and outside nothing has happened."""
    for _ in range(2):
        with rolled_back(engine, sessions) as connection, captured(trail, connection) as events:
            write(sessions, "a")
            with sessions() as session:
                session.add(Note(words="lost"))
                session.flush()
                session.rollback()
                session.add(Note(words="b"))
                with session.begin_nested() as nested:
                    session.add(Note(words="lost too"))
                    session.flush()
                    nested.rollback()
                session.commit()
            if engine.dialect.name == "postgresql":  # another SQLite connection would wait
                assert (0, 0) == left(engine, trail)
        assert ["a", "b"] == words(events)
        assert (0, 0) == left(engine, trail)
    write(sessions, "kept")
    assert (1, 1) == left(engine, trail)


def test_nothing_is_left_of_a_test_that_fails(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Also when the outer transaction is gone already."""
    before = dict(sessions.kw)
    with pytest.raises(ZeroDivisionError), rolled_back(engine, sessions):
        write(sessions, "a")
        raise ZeroDivisionError
    with rolled_back(engine, scoped_session(sessions)) as connection:
        write(sessions, "a")
        outer = connection.get_transaction()
        assert outer is not None
        outer.rollback()
    assert (0, 0) == left(engine, trail)
    assert before == sessions.kw


def test_an_event_that_outlives_a_rollback_does_not_outlive_the_test(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """`record_durable` has its own transaction inside, which is undone with everything else."""
    with rolled_back(engine, sessions) as connection, captured(trail, connection) as events:
        with pytest.raises(ZeroDivisionError), sessions.begin() as session:
            session.add(Note(words="lost"))
            session.flush()
            raise ZeroDivisionError
        trail.record_durable("note.refused", outcome="failure")
    assert ["note.refused"] == events.actions
    assert (0, 0) == left(engine, trail)


def test_each_commit_in_a_rolled_back_test_is_recorded(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Audit rows are written at the commit of a session, and not at that of a savepoint."""
    written = select(func.count()).select_from(trail.tables.event)
    with rolled_back(engine, sessions) as connection:
        with sessions.begin() as session:
            session.add(Note(words="a"))
            with session.begin_nested():
                session.add(Note(words="b"))
            assert 0 == connection.scalar(written)
            session.add(Note(words="c"))
        assert 3 == connection.scalar(written)


def test_a_commit_in_a_rolled_back_test_is_refused_where_a_real_one_would_be(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Raw SQL without an actor fails at the commit of its session, which leaves nothing of it."""

    def write_without_an_actor() -> None:
        with sessions.begin() as session:
            session.execute(text("INSERT INTO note (words) VALUES ('lost')"))

    with rolled_back(engine, sessions) as connection, captured(trail, connection) as events:
        with pytest.raises(MissingActorError):
            Context().run(write_without_an_actor)
        write(sessions, "a")
        assert ["a"] == list(connection.scalars(select(Note.words)))
    assert ["a"] == words(events)
