"""`revert`: changes that are undone, and those that cannot be."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, null, select, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session

from auditspan import (
    Actor,
    AsyncTrail,
    AuditTrail,
    Event,
    MissingActorError,
    RevertError,
    Target,
    audit_context,
)
from auditspan.format import AuditRecord, Service, uuid7
from auditspan.storage.new_events import insert_records
from integration.library.models import Account, Base, Person, Seat, Team, Thing
from integration.library.shapes import Article, Country, Engineer, Post, Tag, rate
from integration.library.snapshots import PROGRAM, Histories, take
from integration.library.test_sequences import run
from integration.library.world import KEY, World, make_world

EXAMPLES = {"sqlite": 16, "postgresql": 6}
OPPOSITE = {"create": "delete", "update": "update", "delete": "create"}


def write(world: World, *objects: object) -> None:
    """Add objects in one transaction."""
    with world.unit_of_work() as session:
        session.add_all(objects)


def last(world: World, model: Any, key: Any, place: int = -1) -> Event:
    """An event of an object, by default the last."""
    with world.sessions() as session:
        return world.trail.history(session, model, key)[place]


def revert(world: World, event: Event, *, force: bool = False) -> None:
    """Undo an event in a transaction of its own."""
    with world.unit_of_work() as session:
        world.trail.revert(session, event, force=force)


@pytest.mark.timeout(600)
def test_reverting_a_revert_restores(engine: Engine) -> None:
    """After any history, any change that can be undone can be redone."""
    world, undone = make_world(engine), set()

    @settings(
        max_examples=EXAMPLES[engine.dialect.name],
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(program=PROGRAM, picks=st.lists(st.integers(0, 40), min_size=4, max_size=4))
    def histories(program: list[tuple[str, int]], picks: list[int]) -> None:
        run(world, program, "commit", Histories)
        with world.sessions() as session:
            events = list(world.trail.events(session))[:60]
        for pick in picks:
            if events:
                undone.add(undo_and_redo(world, events[pick % len(events)]))

    histories()
    assert {"create", "update", "delete"} <= undone


def undo_and_redo(world: World, event: Event) -> str | None:
    """Undo an event and then what undid it; return its verb, or None where that is refused."""
    before = like(world, event)
    try:
        revert(world, event)
    except RevertError:
        return None
    type_, _, verb = event.action.rpartition(".")
    opposite = f"{type_}.{OPPOSITE[verb]}"
    with world.sessions() as session:
        found = world.trail.events(session, action=opposite, text=event.event_id)
        undoing = [one for one in found if one.metadata == {"reverts": event.event_id}]
    if undoing:
        revert(world, undoing[0])
    assert before == like(world, event)
    return verb


def like(world: World, event: Event) -> dict[Any, Any]:
    """All objects of the event's type, and the links of its target; other objects may cascade."""
    type_ = event.action.rpartition(".")[0]
    with world.sessions() as session:
        found = {key: one for key, one in take(session).items() if one.type == type_}
    target = event.target and event.target.id
    return {
        key: (one.values, one.links if str(key[1]) == target else None)
        for key, one in found.items()
    }


def test_an_update_gets_its_old_values(world: World) -> None:
    """By a new event, which has the actor of the context and names the one it undoes."""
    write(world, Person(id=1, name="kim", age=30))
    with world.unit_of_work() as session:
        session.get_one(Person, 1).age = 31
    event = last(world, Person, 1)
    with world.unit_of_work() as session, audit_context(actor=Actor.user(9), reason="a mistake"):
        found: Any = world.trail.revert(session, event)
        assert (30, True) == (found.age, found in session)
    undoing = last(world, Person, 1)
    assert ("person.update", "9", "a mistake") == (
        undoing.action,
        undoing.actor.id,
        undoing.reason,
    )
    assert {"reverts": event.event_id} == undoing.metadata
    assert {"old": 31, "new": 30} == undoing.changes["age"]


def test_a_creation_is_undone_by_a_deletion(world: World) -> None:
    """With the links of the object."""
    write(world, Post(id=1, title="p", tags=[Tag(id=1, name="x")]))
    revert(world, last(world, Post, 1, 0))
    with world.sessions() as session:
        assert session.get(Post, 1) is None
        assert session.get(Tag, 1) is not None
    assert "post.delete" in [event["action"] for event in world.events()]


def test_deleted_object_is_restored_with_its_key_and_links(world: World) -> None:
    """Also one with rows in several tables, and one with a key of several columns."""
    write(
        world,
        Post(id=5, title="p", tags=[Tag(id=1, name="x"), Tag(id=2, name="y")]),
        Engineer(id=6, name="kim", field="tunnels"),
        Seat(row="a", number=7, taken=True),
    )
    keys: dict[Any, Any] = {Post: 5, Engineer: 6, Seat: ("a", 7)}
    with world.sessions() as session:
        before = take(session)
    with world.unit_of_work() as session:
        for model, key in keys.items():
            session.delete(session.get_one(model, key))
    with world.unit_of_work() as session:
        for model, key in keys.items():
            events = world.trail.history(session, model, key)
            (event,) = [one for one in events if one.action.endswith(".delete")]
            world.trail.revert(session, event)
    with world.sessions() as session:
        assert before == take(session)
        assert session.get_one(Seat, ("a", 7)).taken


def test_links_are_changed_back(world: World) -> None:
    """Those that were added go, those that were removed return."""
    write(world, Post(id=1, title="p", tags=[Tag(id=1, name="x")]), Tag(id=2, name="y"))
    with world.unit_of_work() as session:
        session.get_one(Post, 1).tags = [session.get_one(Tag, 2)]
    with world.unit_of_work() as session:
        post = session.get_one(Post, 1)
        assert [2] == [tag.id for tag in post.tags]
        world.trail.revert(session, world.trail.history(session, post)[-1])
        assert [1] == [tag.id for tag in post.tags]


def test_null_is_restored_as_null(world: World) -> None:
    """And not as the default of the column, nor as the null of JSON."""
    key = uuid.UUID(int=3)
    with world.unit_of_work() as session:
        session.execute(insert(Thing), [{"id": key, "data": null()}])
        session.execute(insert(Article), [{"code": "a", "values": None}])
        session.execute(insert(Person), [{"name": "kim", "version": 1, "bio": None}])
    for model, own in ((Thing, key), (Article, 1), (Person, 1)):
        revert(world, deleted(world, model, own))
    with world.sessions() as session:
        assert 1 == session.scalar(text("SELECT count(*) FROM thing WHERE data IS NULL"))
        assert session.get_one(Article, 1).values is None
        assert session.get_one(Person, 1).touched is None


def test_a_later_change_of_the_column_is_a_conflict(world: World) -> None:
    """It is refused, unless forced; a change of another column is not in the way."""
    write(world, Tag(id=1, name="a"), Person(id=1, name="kim", age=1))
    for name in ("b", "c"):
        with world.unit_of_work() as session:
            session.get_one(Tag, 1).name = name
    event = last(world, Tag, 1, 1)
    with pytest.raises(RevertError, match="because name changed since"):
        revert(world, event)
    revert(world, event, force=True)
    with world.unit_of_work() as session:
        assert session.get_one(Tag, 1).name == "a"
        session.get_one(Person, 1).age = 2
    aged = last(world, Person, 1)
    with world.unit_of_work() as session:
        session.get_one(Person, 1).full_name = "Kim"
    revert(world, aged)
    with world.sessions() as session:
        assert (1, "Kim") == (session.get_one(Person, 1).age, session.get_one(Person, 1).full_name)


def redacted(world: World) -> Event:
    """The deletion of an account with an IBAN."""
    write(world, Account(id=1, owner="kim", iban="DE02"))
    return deleted(world, Account, 1)


def long(world: World) -> Event:
    """The deletion of a person with a long text."""
    write(world, Person(id=1, name="kim", bio="long " * 5000))
    return deleted(world, Person, 1)


def deleted(world: World, model: Any, key: Any) -> Event:
    """Delete an object."""
    with world.unit_of_work() as session:
        session.delete(session.get_one(model, key))
    return last(world, model, key)


def there(world: World) -> Event:
    """The deletion of a tag whose key is used again."""
    write(world, Tag(id=1, name="a"))
    event = deleted(world, Tag, 1)
    write(world, Tag(id=1, name="b"))
    return event


def gone(world: World) -> Event:
    """The update of a tag that was deleted since."""
    write(world, Tag(id=1, name="a"))
    with world.unit_of_work() as session:
        session.get_one(Tag, 1).name = "b"
    event = last(world, Tag, 1)
    deleted(world, Tag, 1)
    return event


def counted(world: World) -> Event:
    """Rows that were only counted."""
    world.kinds = {}
    with world.unit_of_work() as session, world.trail.unaudited(reason="import"):
        session.execute(insert(Tag), [{"name": "a"}])
    return only(world)


def explicit(world: World) -> Event:
    """An event that changed nothing."""
    with world.unit_of_work() as session:
        world.trail.record(session, "tag.printed", target=Target(type="tag", id="1"))
    return only(world)


def only(world: World) -> Event:
    """The newest event."""
    with world.sessions() as session:
        return next(world.trail.events(session))


def unmapped(world: World) -> Event:
    """A row of a table without a model."""
    with world.unit_of_work() as session:
        session.execute(rate.insert().values(currency="EUR", day=1))
    return only(world)


def recorded(world: World, **changes: dict[str, Any]) -> Event:
    """An event of an earlier model."""
    record = AuditRecord(
        event_id=uuid7(1, bytes(10)),
        occurred_at=world.trail._capture.recorder.clock(),  # noqa: SLF001
        action="tag.delete",
        actor=Actor.unknown(),
        tx_id="1",
        service=Service(name="earlier"),
        target=Target(type="tag", id="5"),
        changes={"id": {"old": 5}, **changes},
    )
    world.counts_span_events = False
    world.kinds = {}
    with world.engine.begin() as connection:
        insert_records(connection, world.trail.tables, [record], KEY)
    return only(world)


def dropped(world: World) -> Event:
    """A deletion with a column that the model no longer has."""
    return recorded(world, name={"old": "a"}, colour={"old": "red"})


def excluded(world: World) -> Event:
    """A deletion without a column that must not be null."""
    return recorded(world)


def linked(world: World) -> Event:
    """A removed link to a tag that was deleted since."""
    write(world, Post(id=1, title="p", tags=[Tag(id=1, name="x")]))
    with world.unit_of_work() as session:
        session.get_one(Post, 1).tags = []
    event = last(world, Post, 1)
    deleted(world, Tag, 1)
    return event


REFUSED: dict[Callable[[World], Event], str] = {
    redacted: "value of iban was redacted",
    long: "value of bio was redacted or too long",
    there: "a row with its key exists",
    gone: "the row does not exist",
    counted: "not a creation, an update or a deletion",
    explicit: "not a creation, an update or a deletion",
    unmapped: "no mapped class",
    dropped: "no column colour any more",
    excluded: "no value of name, which must not be null",
    linked: "does not exist: pass force=True",
}


@pytest.mark.parametrize("prepare", REFUSED, ids=lambda one: one.__name__)
def test_inexact_reversal_is_refused(world: World, prepare: Callable[[World], Event]) -> None:
    """The message says why; nothing was written, and the session goes on."""
    event = prepare(world)
    before = len(world.events())
    with world.unit_of_work() as session:
        with pytest.raises(RevertError, match=REFUSED[prepare]):
            world.trail.revert(session, event)
        session.add(Team(name="after"))
    assert before + 1 == len(world.events())


def test_a_refusal_of_the_database_is_translated(world: World) -> None:
    """A key that another row uses; the session goes on."""
    write(world, Article(key=1, code="a"), Country(code="x", name="X"))
    with world.unit_of_work() as session:
        session.get_one(Article, 1).code = "b"
    event = last(world, Article, 1)
    write(world, Article(key=2, code="a"))
    with world.unit_of_work() as session:
        with pytest.raises(RevertError, match="the database refused it"):
            world.trail.revert(session, event)
        assert "b" == session.get_one(Article, 1).code


def test_a_revert_requires_an_actor(world: World) -> None:
    """As any change."""
    write(world, Tag(id=1, name="a"))
    event = last(world, Tag, 1)
    with world.sessions() as session, pytest.raises(MissingActorError):
        world.trail.revert(session, event)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_settings_of_the_session_stay(world: World) -> None:
    """The comparison with the live row leaves no setting behind in the transaction."""
    write(world, Tag(id=1, name="a"))
    event = last(world, Tag, 1)
    with world.unit_of_work() as session:
        before = settings_of(session)
        world.trail.revert(session, event)
        assert before == settings_of(session)


def settings_of(session: Session) -> list[Any]:
    """The settings that images depend on."""
    names = "'TimeZone', 'DateStyle', 'IntervalStyle', 'bytea_output', 'extra_float_digits'"
    found = text(f"SELECT name, setting FROM pg_settings WHERE name IN ({names})")  # noqa: S608
    return [tuple(row) for row in session.execute(found)]


async def asynchronously(engine: Engine) -> list[Any]:
    """A change that is read and undone by asynchronous sessions."""
    url = engine.url
    driver = "sqlite+aiosqlite" if engine.dialect.name == "sqlite" else "postgresql+psycopg"
    asynchronous = create_async_engine(url.set(drivername=driver))
    sessions = async_sessionmaker(asynchronous)
    trail = AsyncTrail(AuditTrail(sessions, metadata=Base.metadata, mac_key=KEY))
    with audit_context(actor=Actor.user(1)):
        async with sessions.begin() as session:
            session.add(Tag(id=1, name="a"))
        async with sessions.begin() as session:
            (await session.get_one(Tag, 1)).name = "b"
        async with sessions.begin() as session:
            created, updated = await trail.history(session, Tag, 1)
            await trail.revert(session, updated)
        async with sessions() as session:
            baseline = await trail.baseline(session, Tag)
    async with sessions() as session:
        found = await trail.as_of(session, Tag, 1, updated)
        values = list(await session.scalars(select(Tag.name)))
        actions = [event.action async for event in trail.events(session, target=Tag)]
    await asynchronous.dispose()
    return [found and found["name"], values, actions, baseline, created.action]


def test_asynchronous_sessions_read_and_revert(engine: Engine) -> None:
    """By `AsyncTrail`, with the same methods."""
    assert ["b", ["a"], ["tag.update", "tag.update", "tag.create"], 0, "tag.create"] == asyncio.run(
        asynchronously(engine)
    )
