"""Commits that fail: nothing is left of them, and nothing is announced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from auditspan import AuditWriteError, Target
from integration.library.models import Plain, Pledge, Team
from integration.library.world import World, make_world


def teams(world: World) -> list[str]:
    """The names of the teams, as another connection sees them."""
    with world.engine.connect() as connection:
        return list(connection.scalars(select(Team.name).order_by(Team.id)))


def test_a_commit_that_the_database_refuses_leaves_nothing(world: World) -> None:
    """A deferred foreign key fails at COMMIT, after every flush: no row, no span event.

    The session is used again, and announces only what it commits then.
    """
    with world.request(), world.sessions() as session:
        session.add_all([Team(name="lost"), Pledge(person_id=99)])
        session.flush()
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        assert [] == world.rows()
        session.add(Team(name="kept"))
        session.commit()
    assert ["team.create"] == world.actions()
    assert ["kept"] == teams(world)
    assert ["audit.team.create"] == [one.name for one in world.span_events()]


def test_a_commit_that_is_refused_in_a_block_leaves_nothing(world: World) -> None:
    """The same through `with sessions.begin()`, savepoints released before included."""

    def work() -> None:
        with world.unit_of_work() as session:
            with session.begin_nested():
                session.add(Pledge(person_id=99))
            session.add(Team(name="lost"))

    with pytest.raises(IntegrityError):
        work()
    assert ([], [], []) == (world.rows(), world.span_events(), teams(world))


def test_write_of_a_commit_listener_is_recorded(world: World) -> None:
    """The application's own listener of the engine's `commit` may write."""

    def write(connection: Connection) -> None:
        connection.execute(insert(Team).values(name="late"))

    event.listen(world.engine, "commit", write)
    try:
        with world.unit_of_work() as session:
            session.add(Team(name="early"))
    finally:
        event.remove(world.engine, "commit", write)
    assert ["team.create", "team.create"] == world.actions()
    assert ["early", "late"] == teams(world)


@contextmanager
def before_commit_fails(session: Session) -> Iterator[None]:
    """A hook of the application that refuses the commit."""

    def refuse(_session: Session) -> None:
        session.flush()
        raise RuntimeError("refused")

    event.listen(session, "before_commit", refuse)
    yield
    event.remove(session, "before_commit", refuse)


@contextmanager
def connection_breaks(session: Session) -> Iterator[None]:
    """A connection that breaks at COMMIT."""
    engine = session.get_bind()

    def refuse(_connection: object) -> None:
        raise ConnectionError("broken")

    event.listen(engine, "commit", refuse)
    yield
    event.remove(engine, "commit", refuse)


@pytest.mark.parametrize("fault", [before_commit_fails, connection_breaks])
def test_a_commit_that_fails_before_the_database_leaves_nothing(
    world: World, fault: Callable[[Session], Any]
) -> None:
    """Whatever stops a commit, its rows are gone and nothing is announced, then or later."""
    with world.request(), world.sessions() as session:
        session.add(Team(name="lost"))
        session.flush()
        with fault(session), pytest.raises((RuntimeError, ConnectionError)):
            session.commit()
        session.rollback()
        session.add(Team(name="kept"))
        session.commit()
    assert ["team.create"] == world.actions()
    assert ["kept"] == teams(world)


@contextmanager
def renamed(world: World) -> Iterator[None]:
    """The audit table is not where it was."""
    with world.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_event RENAME TO gone"))
    yield
    with world.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO audit_event"))


REFUSING = {
    "sqlite": (
        "CREATE TRIGGER no_rows BEFORE INSERT ON audit_event BEGIN SELECT RAISE(ABORT, ''); END",
        "DROP TRIGGER no_rows",
    ),
    "postgresql": (
        "ALTER TABLE audit_event ADD CONSTRAINT no_rows CHECK (false) NOT VALID",
        "ALTER TABLE audit_event DROP CONSTRAINT no_rows",
    ),
}


@contextmanager
def refused_by_the_table(world: World) -> Iterator[None]:
    """The audit table takes no rows."""
    begin, end = REFUSING[world.engine.dialect.name]
    with world.engine.begin() as connection:
        connection.execute(text(begin))
    yield
    with world.engine.begin() as connection:
        connection.execute(text(end))


FAULTS = pytest.mark.parametrize("fault", [renamed, refused_by_the_table])


@FAULTS
@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_a_change_whose_row_cannot_be_written_is_refused(
    world: World, fault: Callable[[World], Any], verb: str
) -> None:
    """AuditWriteError with its cause, nothing changed, and it works again afterwards by itself."""
    with world.unit_of_work() as session:
        session.add(Team(name="before"))

    def work() -> None:
        with world.unit_of_work() as session:
            team = session.get_one(Team, 1)
            if verb == "create":
                session.add(Team(name="new"))
            elif verb == "delete":
                session.delete(team)
            else:
                team.name = "changed"

    with fault(world):
        with pytest.raises(AuditWriteError) as refusal:
            work()
        assert ["before"] == teams(world)
    assert isinstance(refusal.value.__cause__, SQLAlchemyError)
    work()
    assert ["team.create", f"team.{verb}"] == world.actions()


@FAULTS
def test_a_caught_refusal_cannot_be_committed_over(
    world: World, fault: Callable[[World], Any]
) -> None:
    """An application that swallows the error and commits again has changed nothing all the same."""
    with world.request(), world.sessions() as session:
        with fault(world):
            session.add(Team(name="sneaked in"))
            session.flush()
            with pytest.raises(AuditWriteError):
                session.commit()
        with suppress(SQLAlchemyError):
            session.commit()
        session.rollback()
    assert [] == teams(world) == world.rows()


def test_a_fault_inside_a_savepoint_that_is_rolled_back_does_no_harm(world: World) -> None:
    """The savepoint takes its changes and their staged rows with it, and the fault is over."""
    with world.unit_of_work() as session:
        session.add(Team(name="first"))
        with session.begin_nested() as savepoint:
            session.execute(text("ALTER TABLE audit_event RENAME TO gone"))
            session.add(Team(name="lost"))
            session.flush()
            savepoint.rollback()
        session.add(Team(name="last"))
    assert ["first", "last"] == teams(world)
    assert ["team.create", "team.create"] == world.actions()


@FAULTS
def test_an_event_that_cannot_be_written_takes_its_transaction_with_it(
    world: World, fault: Callable[[World], Any]
) -> None:
    """An explicit event is part of the transaction: who swallows its refusal commits nothing."""
    with fault(world), world.request(), world.sessions() as session:
        session.execute(insert(Plain).values(name="x"))
        with pytest.raises(AuditWriteError):
            world.trail.record(session, "invoice.exported", target=Target(type="a", id="1"))
        with suppress(AuditWriteError, SQLAlchemyError):
            session.commit()
        session.rollback()
    with world.engine.connect() as connection:
        assert [] == list(connection.scalars(select(Plain.name)))


@pytest.mark.parametrize("nested", [False, True], ids=["root", "savepoint"])
def test_a_transaction_that_the_database_gave_up_announces_nothing(
    world: World, *, nested: bool
) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with a silent ROLLBACK.

    The application swallowed the error of a statement of its own and goes on; the commit seems to
    succeed, and none of its rows is there. So none may be announced.
    """
    with suppress(SQLAlchemyError), world.request(), world.sessions() as session:
        if nested:
            session.begin_nested()
        session.add(Team(name="a"))
        world.trail.record(session, "team.noted")  # records the team as well, at once
        with suppress(AuditWriteError, SQLAlchemyError):
            session.execute(text("SELECT no_such_column"))
        session.commit()
    assert [event["event_id"] for event in world.events()] == world.announced()


def test_a_connection_that_is_lost_in_the_drain_refuses_the_commit(
    postgresql_engine: Engine,
) -> None:
    """The error is that of a record that cannot be written, with the database's as its cause."""
    world = make_world(postgresql_engine)
    with world.request(), world.sessions() as session:
        session.add(Team(name="a"))
        session.flush()
        own = session.scalar(text("SELECT pg_backend_pid()"))
        with world.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:own, 5000)"), {"own": own})
        with pytest.raises(AuditWriteError) as refused:
            session.commit()
        assert isinstance(refused.value.__cause__, OperationalError)
        session.rollback()
        session.add(Team(name="b"))
        session.commit()
    assert ["b"] == [event["changes"]["name"]["new"] for event in world.events()]
