"""`captured`: what it shows is what is in the table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Engine, Pool, SingletonThreadPool, StaticPool, create_engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from auditspan import Actor, AuditConfigError, AuditTrail, audit_context
from auditspan.testing import captured, reading, rolled_back
from integration.testing.notes import KIM, Base, Note, left, words, write


def test_the_events_of_a_block_are_those_that_were_committed_in_it(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Neither those before it nor those after it, and none of what was rolled back."""
    write(sessions, "before")
    with captured(trail, engine) as events:
        assert [] == events
        write(sessions, "a")
        assert ["a"] == words(events)
        with sessions() as session:
            session.add(Note(words="lost"))
            session.flush()
        write(sessions, "b", "c")
    write(sessions, "after")
    assert ["a", "b", "c"] == words(events)


BINDS: dict[str, Callable[[scoped_session[Session]], Any]] = {
    "session": lambda scope: scope(),
    "scoped_session": lambda scope: scope,
    "connection": lambda scope: scope().connection(),
}


@pytest.mark.parametrize("kind", BINDS)
def test_an_open_transaction_shows_its_own_events(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine, kind: str
) -> None:
    """Through session or connection, before any commit; and looking changes nothing."""
    scope = scoped_session(sessions)
    scope.add(Note(words="a"))
    scope.flush()
    with captured(trail, BINDS[kind](scope)) as events:
        scope.add(Note(words="b"))
        assert [] == events  # it does not flush
        scope.flush()
        assert ["b"] == words(events)
    scope.rollback()
    scope.remove()
    assert ["b"] == words(events)
    assert (0, 0) == left(engine, trail)


def test_a_look_inside_a_savepoint_that_is_rolled_back_loses_nothing(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """What was written before the savepoint is recorded at the commit."""
    with captured(trail, engine) as committed, sessions.begin() as session:
        session.add(Note(words="a"))
        session.flush()
        savepoint = session.begin_nested()
        session.add(Note(words="b"))
        with captured(trail, session) as events:
            session.flush()
        assert ["b"] == words(events)
        savepoint.rollback()
    assert ["a"] == words(committed)


def test_a_session_without_a_transaction_is_left_alone(
    trail: AuditTrail, sessions: sessionmaker[Session]
) -> None:
    """Looking begins no transaction in it, and what it has not flushed is still to come."""
    with sessions() as session:
        note = Note(words="a")
        session.add(note)
        session.commit()
        later = Note(words="b")
        with captured(trail, session) as events:
            assert [] == events
            assert not session.in_transaction()
            session.add(later)
            session.commit()
            assert ["b"] == words(events)
            assert not session.in_transaction()
        assert later in session


def test_a_sessionmaker_shows_what_is_committed(
    trail: AuditTrail, sessions: sessionmaker[Session]
) -> None:
    """A factory is asked for a session whenever somebody looks."""
    with captured(trail, sessions) as events:
        write(sessions, "a")
    assert ["a"] == words(events)


def test_a_connection_without_a_transaction_gets_none(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """It can begin one of its own afterwards."""
    with engine.connect() as connection, captured(trail, connection) as events:
        write(sessions, "a")
        assert ["a"] == words(events)
        assert not connection.in_transaction()


def test_a_block_that_fails_has_its_events(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """An exception goes through as it is, and what was committed before it can be seen."""
    with pytest.raises(ZeroDivisionError), captured(trail, engine) as events:
        write(sessions, "a")
        raise ZeroDivisionError
    write(sessions, "b")
    assert ["a"] == words(events)


def test_a_block_that_breaks_its_transaction_is_read_later(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Where nothing can be read any more, the block's own exception is what one gets."""
    with rolled_back(engine, sessions) as connection:
        with pytest.raises(DBAPIError, match="nowhere"), captured(trail, connection) as events:
            write(sessions, "a")
            savepoint = connection.begin_nested()
            connection.execute(text("SELECT * FROM nowhere"))
        savepoint.rollback()
        assert ["a"] == words(events)


@pytest.mark.parametrize("pool", [SingletonThreadPool, StaticPool])
def test_the_only_connection_is_not_taken_away(pool: type[Pool]) -> None:
    """SQLite in memory: an engine is refused while its one connection is in a transaction."""
    engine = create_engine("sqlite://", poolclass=pool)
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata)
    Base.metadata.create_all(engine)
    with audit_context(actor=KIM), ExitStack() as stack:
        with captured(trail, engine) as events:
            write(sessions, "a")
        with sessions.begin() as session:
            session.add(Note(words="b"))
            session.flush()
            with pytest.raises(AuditConfigError, match="only connection of this engine"):
                stack.enter_context(captured(trail, engine))
            with captured(trail, session) as more:
                session.add(Note(words="c"))
                session.flush()
    assert (["a"], ["c"], (3, 3)) == (words(events), words(more), left(engine, trail))
    engine.dispose()


def test_any_number_of_events(
    trail: AuditTrail,
    sessions: sessionmaker[Session],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are read in pages, and in the order in which they were written."""
    monkeypatch.setattr(reading, "_PAGE", 3)
    for count in (2, 3, 7):
        expected = [f"{count}-{number}" for number in range(count)]
        with captured(trail, engine) as events:
            write(sessions, *expected)
        assert expected == words(events)


def test_questions_about_events(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """By action, actor and target; whole or in short forms; like a list."""
    with captured(trail, engine) as events:
        write(sessions, "a")
        with audit_context(actor=Actor.system("job")), sessions.begin() as session:
            note = session.scalars(select(Note)).one()
            note.words = "b"
            trail.record(session, "note.printed", outcome="failure")
            session.flush()
            session.delete(note)
        with audit_context(actor=Actor.anonymous()):
            write(sessions, "c")
    assert [
        "note.create note/1 by user/7",
        "note.update note/1 by system/job",
        "note.printed by system/job (failure)",
        "note.delete note/1 by system/job",
        f"note.create {events[-1].about} by anonymous",
    ] == [str(event) for event in events]
    update = events.one("note.update", by="system/job", about="note/1")
    assert ({"words": "a"}, {"words": "b"}) == (update.old, update.new)
    assert ({}, {}) == (events[0].old, events[3].new)
    assert {"id": 1, "words": "b"} == events[3].old
    assert 3 == len(events.of(by="system/job"))
    assert 2 == len(events.of(by="system/job", about="note/1"))
    assert events[:2] == list(events)[:2]
    assert dict(events[0]) == events[0]
    assert {"seq": None, "delivered": False}.items() <= events[0].items()
    assert None is events[2].about


def test_failed_assertion_lists_the_events(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """The message lists the events."""
    with captured(trail, engine) as events:
        write(sessions, "a", "b")
    listed = r"<2 audit events: note\.create note/1 by user/7; note\.create note/2 by user/7>"
    with pytest.raises(AssertionError, match=rf"note\.create by user/7, found 2 in {listed}"):
        events.one("note.create", by="user/7")
    with pytest.raises(AssertionError, match=r"of note\.delete note/1, found 0 in"):
        events.one("note.delete", about="note/1")
    with captured(trail, engine) as none:
        pass
    with pytest.raises(AssertionError, match="any kind, found 0 in <0 audit events: none>"):
        none.one()
