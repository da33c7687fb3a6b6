"""Refusals of changes without an actor, and of changes that no trail could keep."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, select
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from auditspan import (
    Actor,
    AuditConfigError,
    AuditError,
    AuditTrail,
    MissingActorError,
    Target,
    audit_context,
)
from integration.library.models import Base, Plain, Team
from integration.library.world import KIM, World, make_world

VERBS = pytest.mark.parametrize("verb", ["create", "update", "delete"])


@pytest.fixture
def world(world: World) -> World:
    """The application with a team that is there already."""
    with world.unit_of_work() as session:
        session.add(Team(name="before"))
    return world


def names(world: World) -> list[str]:
    """The teams, as another connection sees them."""
    with world.engine.connect() as connection:
        return list(connection.scalars(select(Team.name)))


def write(session: Session, verb: str) -> None:
    """Change an audited table."""
    team = session.get_one(Team, 1)
    if verb == "create":
        session.add(Team(name="new"))
    elif verb == "delete":
        session.delete(team)
    else:
        team.name = "changed"


CHANGES = {
    "create": {"id": {"new": 2}, "name": {"new": "new"}},
    "update": {"name": {"old": "before", "new": "changed"}},
    "delete": {"id": {"old": 1}, "name": {"old": "before"}},
}


@VERBS
def test_a_write_by_a_session_of_no_trail_is_recorded(world: World, verb: str) -> None:
    """The triggers are the table's: a session beside the trail's factory is recorded as well."""
    with world.request(), Session(world.engine) as session:
        write(session, verb)
        session.commit()
    assert ["team.create", f"team.{verb}"] == world.actions()
    assert (CHANGES[verb], "7") == (world.last()["changes"], world.last()["actor"]["id"])


def test_a_session_of_no_trail_may_read_and_write_other_tables(world: World) -> None:
    """Neither needs an actor, and neither leaves a record."""
    with Session(world.engine) as session, session.begin():
        assert "before" == session.get_one(Team, 1).name
        session.add(Plain(name="x"))
    assert ["team.create"] == world.actions()


@VERBS
@pytest.mark.parametrize("inner", [False, True], ids=["no context", "context without actor"])
def test_strict_a_change_without_an_actor_is_refused(
    world: World, verb: str, *, inner: bool
) -> None:
    """Without an actor nothing is changed, also if the application swallows the error."""
    with world.sessions() as session:
        write(session, verb)
        with pytest.raises(MissingActorError, match="audit_context"):
            if inner:
                with audit_context(reason="no actor"):
                    session.flush()
            else:
                session.flush()
        session.rollback()
        session.commit()
    assert ["before"] == names(world)
    assert ["team.create"] == world.actions()


def test_lenient_a_change_without_an_actor_is_recorded_as_unknown(world: World) -> None:
    """In a trail that is not strict, the row has an unknown actor."""
    lenient = make_world(world.engine, strict=False)
    with lenient.sessions.begin() as session:
        session.add(Team(name="b"))
    assert {"type": "unknown", "id": None, "label": None} == world.last()["actor"]
    world.counts_span_events = False


def test_failing_actor_function_refuses_the_change(world: World) -> None:
    """If the function that returns the actor fails, nothing is recorded under a guess."""

    def broken() -> Actor:
        raise LookupError("no user")

    with (
        pytest.raises(LookupError),
        audit_context(actor=broken),
        world.sessions.begin() as session,
    ):
        session.add(Team(name="b"))
    assert ["before"] == names(world)


@pytest.mark.parametrize(
    "again",
    [
        lambda sessions: sessions,
        scoped_session,
    ],
    ids=["the factory itself", "a scoped session of it"],
)
def test_a_second_trail_on_the_same_sessions_is_refused(
    world: World, again: Callable[[Any], Any]
) -> None:
    """Two trails would write every row twice; the refusal says so, and the first goes on."""
    with pytest.raises(AuditConfigError, match="already"):
        AuditTrail(again(world.sessions), metadata=Base.metadata)
    with world.unit_of_work() as session:
        session.add(Team(name="b"))
    assert ["team.create", "team.create"] == world.actions()


def test_two_factories_on_one_database_do_not_disturb_each_other(world: World) -> None:
    """Each factory has its trail, and a change leaves one row, by whichever it was made."""
    other = make_world(world.engine)
    for one in (world, other):
        with one.unit_of_work() as session:
            session.add(Team(name="b"))
    assert ["team.create"] * 3 == world.actions()
    assert (2, 1) == (len(world.announced()), len(other.announced()))
    world.counts_span_events = False


@pytest.mark.parametrize("url", ["mysql+pymysql://", "mssql+pymssql://"])
@pytest.mark.parametrize("wrap", [lambda factory: factory, scoped_session], ids=["made", "scoped"])
def test_another_database_is_refused_when_the_trail_is_attached(
    url: str, wrap: Callable[[Any], Any]
) -> None:
    """A sentence says which databases will do, and no table has been added."""
    driver: Any = ModuleType("driver")
    driver.paramstyle, driver.__version__ = "format", "9.9.9"
    metadata = MetaData()
    with pytest.raises(AuditConfigError, match=r"PostgreSQL 13.*SQLite"):
        AuditTrail(wrap(sessionmaker(create_engine(url, module=driver))), metadata=metadata)
    assert {} == dict(metadata.tables)


@pytest.mark.parametrize(
    ("name", "version"), [("mysql", (8, 4)), ("postgresql", (12, 22)), ("cockroachdb", (24,))]
)
def test_second_database_is_refused_at_the_first_write(
    sqlite_engine: Engine, name: str, version: tuple[int, ...]
) -> None:
    """A factory may learn its database after it was attached; then the write is refused."""
    sessions = sessionmaker()
    AuditTrail(sessions, metadata=Base.metadata)
    with audit_context(actor=KIM), sessions(bind=sqlite_engine) as session:
        session.connection()
        sqlite_engine.dialect.name = name
        sqlite_engine.dialect.server_version_info = version
        session.add(Plain(name="fine"))
        session.add(Team(name="not fine"))
        with pytest.raises(AuditError, match=r"PostgreSQL 13"):
            session.flush()
        session.rollback()
    sqlite_engine.dialect.name = "sqlite"
    with sqlite_engine.connect() as connection:
        assert [] == list(connection.scalars(select(Team.name)))


@pytest.mark.parametrize(
    "sessions",
    [None, "sessions", object(), lambda: None],
    ids=["None", "text", "object", "function"],
)
def test_invalid_session_factory_is_refused(sessions: Any) -> None:
    """A mistake at start-up is a sentence then, not a missing row later."""
    with pytest.raises(AuditConfigError):
        AuditTrail(sessions, metadata=MetaData())


@pytest.mark.parametrize("action", ["", "exported", ".", "a.", ".b", "a.b\n", 1])
def test_an_action_is_type_and_verb(world: World, action: Any) -> None:
    """`type.verb` is what people search for; anything else is refused before it is written."""
    with pytest.raises(AuditError), world.unit_of_work() as session:
        world.trail.record(session, action)
    assert ["team.create"] == world.actions()


@pytest.mark.parametrize(
    "given",
    [
        {"outcome": "maybe"},
        {"metadata": {"rate": 1.5}},
        {"metadata": {"\ud800": 1}},
        {"metadata": {"a": object()}},
        {"reason": "\0"},
        {"target": object()},
        {"target": Target(type="a", id="\ud800")},
        {"target": Plain(id=1, name="not audited")},
    ],
)
def test_an_event_that_cannot_be_kept_as_it_is_is_refused(
    world: World, given: dict[str, Any]
) -> None:
    """An explicit event is refused with a clear error rather than altered or half written."""
    with pytest.raises(AuditError), world.unit_of_work() as session:
        session.add(Team(name="with it"))
        world.trail.record(session, "invoice.exported", **given)
    assert ["before"] == names(world)


def test_refused_metadata_is_named(world: World) -> None:
    """The message says which member has which type, and what to pass in its place."""
    nested: dict[str, Any] = {"prices": [{"rate": 1.5}]}
    with pytest.raises(AuditError) as refused, world.unit_of_work() as session:
        world.trail.record(session, "invoice.exported", metadata=nested)
    assert "prices[].rate cannot be in an audit body" in refused.value.message
    assert "type float: use text" in refused.value.message


def test_an_event_may_be_recorded_in_any_session_of_the_database(world: World) -> None:
    """It is part of that session's transaction, and announced when that has committed."""
    for ending in ("commit", "rollback"):
        with world.request(), Session(world.engine) as session:
            world.trail.record(session, "invoice.exported")
            getattr(session, ending)()
    assert ["team.create", "invoice.exported"] == world.actions()


def test_an_async_factory_over_a_session_class_of_its_own_is_not_attached_twice() -> None:
    """The same async factory cannot be put under two trails."""
    factory: async_sessionmaker[Any] = async_sessionmaker()
    AuditTrail(factory, metadata=MetaData())
    with pytest.raises(AuditConfigError, match="already"):
        AuditTrail(factory, metadata=MetaData())
