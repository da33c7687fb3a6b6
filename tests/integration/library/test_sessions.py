"""Sessions of every kind, and explicit events: one row per change, announced after its commit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from opentelemetry.trace import Tracer
from sqlalchemy import Engine, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column, scoped_session, sessionmaker

from auditspan import Actor, AuditTrail, Target, audit_context
from auditspan.flask import AuditExtension
from integration.library.models import Base, Person, Seat, Team
from integration.library.world import KEY, KIM, World


def test_a_scoped_session_is_taken_as_it_is(world: World, engine: Engine) -> None:
    """The registry, its sessions and what it proxies are all under the trail."""
    sessions = scoped_session(sessionmaker(engine))
    trail = AuditTrail(sessions, metadata=Base.metadata, mac_key=KEY)
    with world.request():
        sessions.add(Team(name="a"))
        trail.record(sessions, "team.reviewed", target=Target(type="team", id="1"))
        sessions.commit()
        sessions.add(Team(name="b"))
        sessions.rollback()
        sessions.remove()
        sessions().add(Team(name="c"))
        sessions.commit()
        sessions.remove()
    actions = ["team.create", "team.reviewed", "team.create"]
    assert sorted(actions) == sorted(world.actions())


def test_flask_sqlalchemy_is_taken_as_it_is(world: World, tmp_path: Path) -> None:
    """`db.session` of the tutorial: models of `db.Model`, context by the extension."""
    application = Flask("tutorial")
    application.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'tutorial.db'}"
    db = SQLAlchemy()
    db.init_app(application)

    class User(db.Model):  # type: ignore[name-defined,misc]
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str]

    trail = AuditTrail(db.session, metadata=db.metadata)
    AuditExtension(trail, actor=lambda: KIM).init_app(application)

    @application.post("/users/<name>")
    def add(name: str) -> str:
        db.session.add(User(username=name))
        db.session.commit()
        return "added"

    @application.post("/broken/<name>")
    def broken(name: str) -> str:
        db.session.add(User(username=name))
        db.session.flush()
        raise RuntimeError(name)

    with application.app_context():
        db.create_all()
    client = application.test_client()
    with world.tracer.start_as_current_span("server"):
        codes = [client.post(path).status_code for path in ("/users/a", "/broken/b", "/users/c")]
    with application.app_context():
        table = trail.tables.event
        rows = db.session.execute(select(table).order_by(table.c.id)).all()
        assert ["a", "c"] == list(db.session.scalars(select(User.username)))
        db.engine.dispose()
    assert [200, 500, 200] == codes
    assert [("user.create", "7")] * 2 == [(row.action, row.actor_id) for row in rows]
    assert [row.event_id for row in rows] == world.announced()
    world.counts_span_events = False


async def use_async(url: str, tracer: Tracer) -> tuple[AuditTrail, list[Any]]:
    """Two tasks with an actor each, a rolled-back savepoint, and a rollback."""
    engine = create_async_engine(url)
    sessions = async_sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata)

    async def act(number: int) -> None:
        with audit_context(actor=Actor.user(number)), tracer.start_as_current_span("task"):
            for turn in range(5):
                async with sessions.begin() as session:
                    session.add(Team(name=f"{number}-{turn}"))
                    await session.flush()
                    nested = await session.begin_nested()
                    session.add(Team(name="lost"))
                    await session.flush()
                    await nested.rollback()
            async with sessions() as session:
                session.add(Team(name="lost"))
                await session.flush()
                await session.rollback()

    if engine.dialect.name == "sqlite":  # one writer at a time; a legacy BEGIN does not wait
        for number in (1, 2):
            await act(number)
    else:
        await asyncio.gather(act(1), act(2))
    async with engine.connect() as connection:
        table = trail.tables.event
        rows = (await connection.execute(select(table).order_by(table.c.id))).all()
    await engine.dispose()
    return trail, list(rows)


def test_async_sessions_are_under_the_trail(world: World) -> None:
    """The same holds for `async_sessionmaker`: one row and one event each, the task's own actor."""
    url = world.engine.url
    driver = "sqlite+aiosqlite" if url.get_backend_name() == "sqlite" else "postgresql+psycopg"
    text = url.set(drivername=driver).render_as_string(hide_password=False)
    _, rows = asyncio.run(use_async(text, world.tracer))
    names = [(row.actor_id, event["changes"]["name"]["new"]) for row, event in seen(world, rows)]
    expected = [(str(number), f"{number}-{turn}") for number in (1, 2) for turn in range(5)]
    assert expected == sorted(names)


def seen(world: World, rows: list[Any]) -> list[tuple[Any, dict[str, Any]]]:
    """The rows with their parsed bodies."""
    return list(zip(rows, world.events(), strict=True))


def test_two_sessions_in_one_thread_do_not_mix(world: World) -> None:
    """Interleaved sessions each announce their own rows at their own commit."""
    if world.engine.dialect.name == "sqlite":  # one writer at a time: one after the other
        with world.unit_of_work() as one:
            one.add(Team(name="a"))
        with world.request(), world.sessions() as two:
            two.add(Team(name="b"))
            two.flush()
    else:
        with world.request(), world.sessions() as one, world.sessions() as two:
            one.add(Team(name="a"))
            two.add(Team(name="b"))
            one.flush()
            two.flush()
            one.commit()
            two.rollback()
    assert ["a"] == [event["changes"]["name"]["new"] for event in world.events()]


def test_an_event_commits_with_its_transaction(world: World) -> None:
    """It has its place among the changes, the transaction's id, and what the caller gave."""
    with world.unit_of_work() as session:
        team = Team(name="a")
        session.add(team)
        session.flush()
        event_id = world.trail.record(
            session,
            "team.exported",
            target=team,
            outcome="failure",
            reason="no room",
            metadata={"format": "pdf"},
        )
        team.name = "b"
    made, exported, changed = world.events()
    assert event_id == exported["event_id"]
    assert ["team.create", "team.exported", "team.update"] == world.actions()
    assert made["tx_id"] == exported["tx_id"] == changed["tx_id"]
    assert {"type": "team", "id": "1", "version": None} == exported["target"]
    assert ("failure", "no room", {"format": "pdf"}) == (
        exported["outcome"],
        exported["reason"],
        exported["metadata"],
    )
    assert {} == exported["changes"]


@pytest.mark.parametrize("ending", ["rollback", "close", "savepoint"])
def test_an_event_goes_with_its_transaction(world: World, ending: str) -> None:
    """Rolled back, closed, or in a savepoint that was rolled back: no row and no span event."""
    with world.request(), world.sessions() as session:
        nested = session.begin_nested() if ending == "savepoint" else None
        world.trail.record(session, "team.exported")
        if nested:
            nested.rollback()
            session.commit()
        elif ending == "rollback":
            session.rollback()
    assert [] == world.rows() == world.span_events()


def test_an_event_alone_is_committed_and_announced(world: World) -> None:
    """No changed object is needed for an event to be one."""
    with world.unit_of_work() as session:
        world.trail.record(session, "login.failed", outcome="failure")
    assert ["login.failed"] == world.actions()
    assert world.last()["target"] is None


@pytest.mark.parametrize("state", ["new", "pending", "changed", "deleted"])
def test_an_event_about_an_object_has_its_true_id(world: World, state: str) -> None:
    """Whatever is still to be flushed: the event names the row that is there in the end."""
    with world.unit_of_work() as session:
        session.add(Seat(row="a", number=1))
    with world.unit_of_work() as session:
        target: Any = session.get_one(Seat, ("a", 1))
        if state in {"new", "pending"}:
            target = Person(name="kim")
            session.add(target)
            session.flush() if state == "new" else None
        elif state == "changed":
            target.number = 2
        else:
            session.delete(target)
        world.trail.record(session, "thing.seen", target=target)
    (event,) = [event for event in world.events() if event["action"] == "thing.seen"]
    expected = {"changed": '["a",2]', "deleted": '["a",1]'}
    assert expected.get(state, "1") == event["target"]["id"]


def test_the_context_is_in_the_row(world: World) -> None:
    """Reason, on whose behalf, tenant and metadata of the context are those of every row in it."""
    with (
        audit_context(reason="month end", tenant="acme", metadata={"batch": 7}),
        audit_context(on_behalf_of=Actor.user(9, label="lee"), metadata={"turn": 1}),
        world.unit_of_work() as session,
    ):
        session.add(Team(name="a"))
    event = world.last()
    assert ("month end", "acme", {"batch": 7, "turn": 1}) == (
        event["reason"],
        event["tenant"],
        event["metadata"],
    )
    assert {"type": "user", "id": "7", "label": "kim"} == event["actor"]
    assert {"type": "user", "id": "9", "label": "lee"} == event["on_behalf_of"]
