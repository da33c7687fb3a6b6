"""Writes that change more than they name, and transactions that come between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import sessionmaker

from auditspan import AuditConfigError, AuditTrail, UnauditedWriteError, audit_context
from auditspan.testing import captured
from integration.library.models import Base, Team
from integration.library.shapes import Article, Node, Post, Tag
from integration.library.test_statements import upsert
from integration.library.world import KEY, KIM, World, make_world


@pytest.mark.parametrize(
    "statement",
    [
        insert(Team).values(id=1, name="new").prefix_with("OR REPLACE"),
        insert(Base.metadata.tables["team"]).values(id=1, name="n").prefix_with("or replace"),
        update(Team).values(name="new").prefix_with("OR REPLACE"),
    ],
    ids=["insert", "core insert", "update"],
)
def test_or_replace_is_refused(sqlite_engine: Engine, statement: Any) -> None:
    """It deletes rows that it does not name, so nothing is written at all."""
    world = make_world(sqlite_engine)
    with world.unit_of_work() as session:
        session.add(Team(name="old"))
    with world.unit_of_work() as session, pytest.raises(UnauditedWriteError, match="REPLACE"):
        session.execute(statement)
    world.check()
    assert ["team.create"] == world.actions()


def test_a_key_that_replaces_rows_cannot_be_audited() -> None:
    """SQLite's ON CONFLICT REPLACE in the schema would do the same, for objects too."""
    metadata = MetaData()
    table = Table(
        "setting",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(20)),
        UniqueConstraint("name", sqlite_on_conflict="REPLACE"),
        info={"audit": True},
    )
    engine = create_engine("sqlite://")
    AuditTrail(sessionmaker(engine), metadata=metadata)
    metadata.create_all(engine)
    with (
        audit_context(actor=KIM),
        engine.begin() as connection,
        pytest.raises(AuditConfigError, match="ON CONFLICT REPLACE"),
    ):
        connection.execute(insert(table).values(name="a"))
    engine.dispose()


def test_a_cascade_into_a_key_is_refused(engine: Engine) -> None:
    """The row would have another key, under which nobody would look for it."""
    metadata = MetaData()
    land = Table("land", metadata, Column("code", String(5), primary_key=True))
    law = Table(
        "law",
        metadata,
        Column("land", ForeignKey("land.code", onupdate="CASCADE"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        info={"audit": True},
    )
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=metadata, mac_key=KEY)
    metadata.create_all(engine, tables=[land, law])
    with audit_context(actor=KIM), captured(trail, sessions) as events:
        with engine.begin() as connection:
            connection.execute(insert(land), [{"code": "de"}, {"code": "fr"}])
            connection.execute(insert(law).values(land="de", number=1))
        with (
            pytest.raises(UnauditedWriteError, match="keys of 'law'"),
            engine.begin() as connection,
        ):
            connection.execute(update(land).where(land.c.code == "de").values(code="DE"))
        with engine.begin() as connection:  # nothing refers to it
            connection.execute(update(land).where(land.c.code == "fr").values(code="FR"))
    assert ["law.create"] == events.actions
    with engine.connect() as connection:
        assert ["de"] == list(connection.scalars(select(law.c.land)))


def test_links_that_a_flush_writes_are_told_also_where_statements_are_not(world: World) -> None:
    """`unaudited` is about statements; objects and their collections are captured all the same."""
    with world.unit_of_work() as session, world.trail.unaudited(reason="for statements"):
        session.add(Post(title="p", tags=[Tag(name="a")]))
        session.flush()
    assert {"added": ["1"]} == world.last()["changes"]["tags"]
    assert "post.statement" not in world.actions()


@contextmanager
def between(engine: Engine, beginning: str, intrude: Callable[[], None]) -> Iterator[list[str]]:
    """Somebody else acts once, after capture has looked and just before this statement runs."""
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
    """Another program, which waits for nobody's locks."""

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
def postgresql_world(postgresql_engine: Engine) -> Iterator[World]:
    """The application where several write at once."""
    world = make_world(postgresql_engine)
    yield world
    world.check()


@pytest.mark.parametrize("by", ["object", "statement"])
def test_nobody_adds_a_child_that_a_cascade_would_take_unseen(
    postgresql_world: World, by: str
) -> None:
    """From the look at the children to the deletion of their parent, there come no more."""
    world = postgresql_world
    with world.unit_of_work() as session:
        session.add(Node(id=1))
        session.flush()
        session.add(Node(id=2, parent_id=1))
    errors: list[Exception] = []

    def intrude() -> None:
        for parent in (1, 2):
            try:
                stranger(world.engine, f"INSERT INTO node VALUES ({parent + 10}, {parent})")()  # noqa: S608
            except Exception as error:  # noqa: BLE001 - the driver's own
                errors.append(error)

    with (
        between(world.engine, "DELETE FROM node", intrude) as acted,
        world.unit_of_work() as session,
    ):
        if by == "object":
            session.delete(session.get_one(Node, 1))
        else:
            session.execute(delete(Node).where(Node.id == 1))
    assert 1 == len(acted)
    assert ["LockNotAvailable"] * 2 == [type(error).__name__ for error in errors]
    assert ["node.delete", "node.delete"] == world.actions()[2:]


def test_an_upsert_that_somebody_gets_before_is_refused(postgresql_world: World) -> None:
    """What was to be an INSERT has become an UPDATE of a row that nobody had read."""
    world = postgresql_world
    intrude = stranger(world.engine, "INSERT INTO article (\"articleCode\", seen) VALUES ('x', 0)")
    with between(world.engine, "INSERT INTO article", intrude) as acted:  # noqa: SIM117 - in order
        with suppress(DBAPIError), world.unit_of_work() as session:
            statement = upsert(session, Article).values(articleCode="x", in_stock=9)
            statement = statement.on_conflict_do_update(
                index_elements=["articleCode"], set_={"in_stock": 9}
            )
            with pytest.raises(UnauditedWriteError, match="same moment"):
                session.execute(statement)
            session.rollback()
    assert 1 == len(acted)
    assert [] == world.actions()
    with world.engine.begin() as connection:  # the stranger's row has no history
        assert [3] == list(connection.scalars(text("SELECT in_stock FROM article")))
        connection.connection.cursor().execute("DELETE FROM article")


def test_an_upsert_into_a_tree_waits_for_others_and_lets_none_between(
    postgresql_world: World,
) -> None:
    """The lock by which PostgreSQL holds a parent is not taken for that of an upsert."""
    errors: list[Exception] = []

    def intrude() -> None:
        try:
            stranger(postgresql_world.engine, "INSERT INTO node VALUES (2, NULL)")()
        except Exception as error:  # noqa: BLE001 - the driver's own
            errors.append(error)

    with (
        between(postgresql_world.engine, "INSERT INTO node", intrude),
        postgresql_world.unit_of_work() as session,
    ):
        rows = [{"id": 1, "parent_id": None}, {"id": 2, "parent_id": 1}]
        statement = upsert(session, Node).values(rows)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["id"], set_={"parent_id": statement.excluded.parent_id}
            )
        )
    assert ["node.create", "node.create"] == postgresql_world.actions()
    assert ["LockNotAvailable"] == [type(error).__name__ for error in errors]
