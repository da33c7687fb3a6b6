"""Savepoints: any sequence of work, commits and rollbacks leaves the rows of what survived.

An oracle in plain Python knows what must survive: a list of tables, one for each level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError, SAWarning
from sqlalchemy.orm import Session, SessionTransaction

from auditspan import AuditTrail
from integration.library.models import Person, Team
from integration.library.world import World

STEPS = ["add", "rename", "remove", "record", "flush", "clash", "begin", "commit", "rollback"]
PROGRAMS = st.lists(st.sampled_from(STEPS), min_size=1, max_size=14)
ENDINGS = st.sampled_from(["commit", "rollback", "close", "error"])


class Stop(Exception):  # noqa: N818 - an ending, not an error
    """The work ends with an exception."""


class Machine:
    """Runs a program on a session and on the oracle at once.

    Attributes:
        levels: names by id as they are at each level, the root first.
        rows: actions that have been written at each level.
    """

    def __init__(self, session: Session, trail: AuditTrail) -> None:
        self.session = session
        self.trail = trail
        self.savepoints: list[SessionTransaction] = []
        self.levels: list[dict[int, str]] = [self._live()]
        self.rows: list[list[str]] = [[]]
        self.fresh = 0

    def _live(self) -> dict[int, str]:
        return {team.id: team.name for team in self.session.scalars(select(Team))}

    def _first(self) -> Team | None:
        return self.session.scalars(select(Team).order_by(Team.id).limit(1)).one_or_none()

    def _note(self, action: str) -> None:
        self.session.flush()
        self.levels[-1] = self._live()
        self.rows[-1].append(f"team.{action}")

    def add(self) -> None:
        self.fresh += 1
        self.session.add(Team(name=f"t{self.fresh}"))
        self._note("create")

    def rename(self) -> None:
        team = self._first()
        if team:
            self.fresh += 1
            team.name = f"t{self.fresh}"
            self._note("update")

    def remove(self) -> None:
        team = self._first()
        if team:
            self.session.delete(team)
            self._note("delete")

    def record(self) -> None:
        """An explicit event, which records all changes before it at once."""
        self.trail.record(self.session, "team.noted")
        self._note("noted")

    def flush(self) -> None:
        self.session.flush()

    def clash(self) -> None:
        """A flush that fails inside a savepoint of its own, after another change."""
        with pytest.raises(IntegrityError), self.session.begin_nested():
            self.session.add(Team(name="doomed"))
            self.session.flush()
            self.session.add_all([Person(id=1, name="same"), Person(id=2, name="same")])
            self.session.flush()

    def begin(self) -> None:
        self.savepoints.append(self.session.begin_nested())
        self.levels.append(dict(self.levels[-1]))
        self.rows.append([])

    def commit(self) -> None:
        if self.savepoints:
            self.savepoints.pop().commit()
            done = self.rows.pop()
            self.levels[-2:] = [self.levels[-1]]
            self.rows[-1] += done

    def rollback(self) -> None:
        if self.savepoints:
            self.savepoints.pop().rollback()
            self.levels.pop()
            self.rows.pop()

    def end(self, ending: str) -> list[str]:
        """End the root transaction; the actions that must be in the trail.

        Session.commit and Session.rollback are about the root, whatever savepoints are open.
        """
        done = [action for level in self.rows for action in level]
        if ending == "error":
            raise Stop
        getattr(self.session, ending)()
        return done if ending == "commit" else []


def run(world: World, program: list[str], ending: str) -> tuple[list[str], dict[int, str] | None]:
    """The actions and teams that must be there after a program."""
    with world.request(), world.sessions() as session:
        machine = Machine(session, world.trail)
        for step in program:
            getattr(machine, step)()
        assert machine.levels[-1] == machine._live()  # noqa: SLF001 - its own model
        try:
            done = machine.end(ending)
        except Stop:
            done = []
        return done, machine.levels[-1] if ending == "commit" else None


def clear(world: World) -> None:
    """Begin the next example without teams."""
    with world.request(), world.engine.begin() as connection:
        connection.execute(delete(Team))


@given(program=PROGRAMS, ending=ENDINGS)
@example(program=["begin", "add", "begin", "add", "rollback", "commit", "rename"], ending="commit")
@example(program=["add", "begin", "rename", "begin", "remove", "rollback"], ending="commit")
@example(program=["begin", "add", "commit", "begin", "add", "rollback"], ending="commit")
@example(program=["begin", "begin", "add", "commit", "rollback", "add"], ending="commit")
@example(program=["add", "begin", "add", "begin", "clash", "add"], ending="commit")
@example(program=["add", "begin", "add", "begin", "add"], ending="rollback")
@example(program=["add", "begin", "record", "rollback", "add"], ending="commit")
@example(
    program=["begin", "record", "begin", "add", "record", "commit", "rollback"], ending="commit"
)
@example(
    program=["begin", "record", "begin", "record", "begin", "record", "rollback"], ending="commit"
)
@example(program=["begin", "record", "commit", "rename"], ending="commit")
@example(program=["record", "begin", "record"], ending="rollback")
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_savepoints_of_any_nesting_leave_the_surviving_rows(
    world: World, program: list[str], ending: str
) -> None:
    """Rows, span events and teams are exactly those that the oracle says have survived."""
    clear(world)
    rows, events = len(world.actions()), len(world.span_events())
    actions, teams = run(world, program, ending)
    assert actions == world.actions()[rows:]
    announced = [event.name.removeprefix("audit.") for event in world.span_events()[events:]]
    assert actions == announced
    if teams is not None:
        with world.sessions() as session:
            assert teams == {team.id: team.name for team in session.scalars(select(Team))}
    world.check()


def blocks(session: Session) -> Iterator[None]:
    """Nested `with` blocks, the inner one failing."""
    with session.begin_nested():
        session.add(Team(name="kept"))
        with pytest.raises(Stop), session.begin_nested():
            session.add(Team(name="lost"))
            raise Stop
        yield


def outer_first(session: Session) -> Iterator[None]:
    """An outer savepoint released while an inner one is open."""
    outer = session.begin_nested()
    session.add(Team(name="kept"))
    session.begin_nested()
    session.add(Team(name="kept too"))
    outer.commit()
    yield


def outer_rolled_back_first(session: Session) -> Iterator[None]:
    """An outer savepoint rolled back while an inner one is open."""
    session.add(Team(name="kept"))
    outer = session.begin_nested()
    session.add(Team(name="lost"))
    session.begin_nested()
    session.add(Team(name="lost too"))
    session.flush()
    outer.rollback()
    yield


def unflushed(session: Session) -> Iterator[None]:
    """Work that is flushed only by the release of its savepoint."""
    nested = session.begin_nested()
    session.add(Team(name="kept"))
    nested.commit()
    nested = session.begin_nested()
    session.add(Team(name="lost"))
    nested.rollback()
    yield


@pytest.mark.parametrize("work", [blocks, outer_first, outer_rolled_back_first, unflushed])
def test_savepoints_in_other_orders(world: World, work: Callable[[Session], Any]) -> None:
    """However savepoints are closed, what is kept has its row and its span event."""
    with world.unit_of_work() as session:
        for _ in work(session):
            session.flush()
    names = [event["changes"]["name"]["new"] for event in world.events()]
    assert [name for name in ("kept", "kept too") if name in names] == names
    with world.sessions() as session:
        assert names == list(session.scalars(select(Team.name).order_by(Team.id)))
    assert names


def test_session_continues_after_a_rollback(world: World) -> None:
    """One session, many transactions: each announces its own rows, each has its own id."""
    with world.request(), world.sessions() as session:
        for name, ending in [("a", "commit"), ("b", "rollback"), ("c", "commit"), ("d", "close")]:
            session.add(Team(name=name))
            session.flush()
            getattr(session, ending)()
    assert ["a", "c"] == [event["changes"]["name"]["new"] for event in world.events()]
    assert 2 == len({event["tx_id"] for event in world.events()})


def test_a_statement_outside_the_unit_of_work_does_not_end_it(world: World) -> None:
    """Core statements in the same transaction commit and roll back with it."""
    with world.request(), world.sessions() as session:
        session.add(Team(name="a"))
        session.flush()
        delivery = world.trail.tables.delivery
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        values = {"sink": "x", "sent_seq": 0, "safe_seq": 0, "updated_at": moment}
        session.execute(insert(delivery).values(values))
        session.rollback()
    assert [] == world.actions()


def test_an_outer_savepoint_of_a_connection_takes_the_inner_one_along(world: World) -> None:
    """ROLLBACK TO an outer savepoint while an inner one is open: nothing of either is told."""
    with world.request(), world.engine.begin() as connection:
        connection.execute(insert(Team).values(name="kept"))
        outer = connection.begin_nested()
        connection.execute(insert(Team).values(name="lost"))
        connection.begin_nested()
        connection.execute(insert(Team).values(name="lost too"))
        with pytest.warns(SAWarning, match="deassociated"):
            outer.rollback()
    assert ["team.create"] == world.actions()


def test_an_outer_savepoint_of_a_connection_may_be_released_first(world: World) -> None:
    """RELEASE of an outer savepoint releases the inner one with it."""
    with world.request(), world.engine.begin() as connection:
        outer = connection.begin_nested()
        connection.execute(insert(Team).values(name="kept"))
        connection.begin_nested()
        connection.execute(insert(Team).values(name="kept too"))
        with pytest.warns(SAWarning, match="deassociated"):
            outer.commit()
    assert ["team.create", "team.create"] == world.actions()


def test_an_outer_savepoint_takes_recorded_events_of_the_inner_one_along(world: World) -> None:
    """ROLLBACK TO an outer savepoint while an inner one is open: neither is announced."""
    with world.request(), world.engine.begin() as connection:
        session = Session(connection, join_transaction_mode="rollback_only")
        outer = connection.begin_nested()
        world.trail.record(session, "team.noted")
        connection.begin_nested()
        world.trail.record(session, "team.noted")
        with pytest.warns(SAWarning, match="deassociated"):
            outer.rollback()
        world.trail.record(session, "team.kept")
    assert ["team.kept"] == world.actions()
