"""Another program's writes just before a statement: what the statement then meets is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, event, select, update

from auditspan.seal.undrained import Undrained
from integration.library.models import Team
from integration.library.shapes import Article, City, Country, Node
from integration.library.test_statements import upsert
from integration.library.world import KEY, World, make_world


@contextmanager
def between(engine: Engine, beginning: str, intrude: Callable[[], None]) -> Iterator[list[str]]:
    """Let another program act once, just before the statement that begins so is executed."""
    acted: list[str] = []

    def before(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(beginning) and not acted:
            acted.append(statement)
            intrude()

    event.listen(engine, "before_cursor_execute", before)
    try:
        yield acted
    finally:
        event.remove(engine, "before_cursor_execute", before)


def stranger(engine: Engine, sql: str) -> Callable[[], None]:
    """A write of another program, which no application drains and which waits for no lock."""

    def act() -> None:
        other = create_engine(engine.url)
        connection = other.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("SET lock_timeout = '300ms'")
            cursor.execute(sql)
            connection.commit()
        finally:
            connection.close()
            other.dispose()

    return act


@pytest.fixture
def world(postgresql_engine: Engine) -> Iterator[World]:
    """The application where several write at once; the worker records what others wrote."""
    world = make_world(postgresql_engine)
    world.counts_span_events = False
    yield world
    world.check()


def actions(world: World, after: int) -> tuple[list[str], list[str]]:
    """Return the records of the application after so many events, and then of the worker."""
    own = world.actions()[after:]
    Undrained(world.engine, world.trail.tables, mac_key=KEY).take()
    others = world.events()[after + len(own) :]
    assert {"database"} >= {one["actor"]["type"] for one in others}
    return own, [one["action"] for one in others]


@pytest.mark.parametrize("by", ["object", "statement"])
def test_children_that_come_just_before_a_deletion_are_recorded_as_deleted(
    world: World, by: str
) -> None:
    """The database deletes them with their parents, and the trail has each of them."""
    with world.unit_of_work() as session:
        session.add(Node(id=1))
        session.flush()
        session.add(Node(id=2, parent_id=1))
    intrude = stranger(world.engine, "INSERT INTO node VALUES (11, 1), (12, 2)")
    with (
        between(world.engine, "DELETE FROM node", intrude) as acted,
        world.unit_of_work() as session,
    ):
        if by == "object":
            session.delete(session.get_one(Node, 1))
        else:
            session.execute(delete(Node).where(Node.id == 1))
    assert 1 == len(acted)
    assert (["node.delete"] * 4, ["node.create"] * 2) == actions(world, after=2)


def test_a_child_that_comes_just_before_its_key_changes_is_recorded(world: World) -> None:
    """ON UPDATE CASCADE changes it as well."""
    with world.unit_of_work() as session:
        session.add(Country(code="a", name="land"))
    intrude = stranger(world.engine, "INSERT INTO city VALUES (9, 'a')")
    with (
        between(world.engine, "UPDATE country", intrude) as acted,
        world.unit_of_work() as session,
    ):
        session.execute(update(Country).values(code="z"))
    assert 1 == len(acted)
    assert (["country.update", "city.update"], ["city.create"]) == actions(world, after=1)
    with world.engine.connect() as connection:
        assert ["z"] == list(connection.scalars(select(City.country)))


def test_an_upsert_that_another_program_forestalls_is_recorded_as_an_update(world: World) -> None:
    """An upsert that would insert updates a row that another program has just inserted."""
    intrude = stranger(world.engine, "INSERT INTO article (\"articleCode\", seen) VALUES ('x', 0)")
    with (
        between(world.engine, "INSERT INTO article", intrude) as acted,
        world.unit_of_work() as session,
    ):
        statement = upsert(session, Article).values(articleCode="x", in_stock=9)
        session.execute(
            statement.on_conflict_do_update(index_elements=["articleCode"], set_={"in_stock": 9})
        )
    assert 1 == len(acted)
    assert {"old": 3, "new": 9} == world.last()["changes"]["in_stock"]
    assert (["article.update"], ["article.create"]) == actions(world, after=0)


def test_an_upsert_into_a_tree_is_recorded_as_what_it_met(world: World) -> None:
    """Of two rows one is there already, since another program was quicker."""
    intrude = stranger(world.engine, "INSERT INTO node VALUES (2, NULL)")
    with (
        between(world.engine, "INSERT INTO node", intrude) as acted,
        world.unit_of_work() as session,
    ):
        rows = [{"id": 1, "parent_id": None}, {"id": 2, "parent_id": 1}]
        statement = upsert(session, Node).values(rows)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["id"], set_={"parent_id": statement.excluded.parent_id}
            )
        )
    assert 1 == len(acted)
    assert (["node.create", "node.update"], ["node.create"]) == actions(world, after=0)


def test_a_write_in_a_cte_is_recorded_with_rows_that_came_just_before(world: World) -> None:
    """It changes them too, and the trail has each of them."""
    with world.unit_of_work() as session:
        session.add_all([Team(id=1, name="a"), Team(id=2, name="b")])
    intrude = stranger(world.engine, "INSERT INTO team VALUES (9, 'new')")
    part = update(Team).values(name="x").returning(Team.id).cte("part")
    with between(world.engine, "WITH part", intrude) as acted, world.unit_of_work() as session:
        assert 3 == len(session.execute(select(part)).all())
    assert 1 == len(acted)
    assert (["team.update"] * 3, ["team.create"]) == actions(world, after=2)
