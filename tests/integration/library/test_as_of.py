"""`as_of`: objects as they were."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.orm import Session

from auditspan import Actor, AuditBodyError, AuditConfigError, Digest, Redacted, State, Target
from auditspan.format import AuditRecord, Service, uuid7
from auditspan.storage.new_events import insert_records
from integration.library.models import Account, Colour, Person, Plain, Profile, Seat, Thing
from integration.library.shapes import Animal, Country, Dog, Engineer, Post, Tag, Worker, rate
from integration.library.snapshots import HISTORIES, Histories, recorded, take
from integration.library.test_reading import damage
from integration.library.test_sequences import run
from integration.library.world import KEY, World, make_world

EXAMPLES = {"sqlite": 4, "postgresql": 2}
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Clock:
    """A clock that ticks by two seconds each time it is read."""

    def __init__(self) -> None:
        self.ticks = count()

    def __call__(self) -> datetime:
        return BEGINNING + 2 * next(self.ticks) * SECOND

    def between(self) -> datetime:
        """A time after everything that has happened, and before all that is to come."""
        return self() + SECOND


@pytest.mark.timeout(600)
def test_as_of_equals_the_snapshot_of_the_time(engine: Engine) -> None:
    """Ten instants of any history: inheritance, links, bulk statements, keys that change."""
    clock = Clock()
    world = make_world(engine, clock=clock)

    @settings(
        max_examples=EXAMPLES[engine.dialect.name],
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(programs=HISTORIES)
    def histories(programs: list[tuple[list[tuple[str, int]], str]]) -> None:
        taken = []
        for program, ending in programs:
            run(world, program, ending, Histories)
            with world.sessions() as session:
                taken.append((clock.between(), take(session)))
        with world.sessions() as session:
            keys = {key for _, snapshots in taken for key in snapshots}
            for instant, snapshots in taken:
                some = sorted(keys, key=str)[instant.second % 7 :: 7]
                expected = {key: found for key, found in snapshots.items() if key in some}
                assert expected == recorded(world.trail, session, iter(some), instant)

    histories()


@pytest.fixture
def world(engine: Engine) -> World:
    """An application; these tests damage its trail, or write to it what never happened."""
    return make_world(engine)


def write(world: World, *objects: object) -> None:
    """Add objects in one transaction."""
    with world.unit_of_work() as session:
        session.add_all(objects)


def state(world: World, model: Any, key: Any, when: Any = None) -> State | None:
    """The state at a time, by default now."""
    with world.sessions() as session:
        return world.trail.as_of(session, model, key, when or datetime.now(UTC))


def known(world: World, model: Any, key: Any, when: Any = None) -> State:
    """The state of an object that was there."""
    found = state(world, model, key, when)
    assert found is not None
    return found


def test_values_are_those_that_sqlalchemy_loads(world: World) -> None:
    """Of every type, and with its Python type."""
    key = uuid.UUID(int=7)
    thing = Thing(
        id=key,
        price=Decimal("12.50"),
        ratio=0.1,
        big=2**60,
        flag=True,
        colour=Colour.BLUE,
        born=date(2026, 1, 2),
        at=time(1, 2, 3, 4),
        seen=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        naive=datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 (the claim)
        span=-timedelta(days=1, seconds=2, microseconds=3),
        raw=b"\xff\x00",
        text="Ä\N{SNOWMAN}",
        data={"ratio": 0.5, "$x": [1, None, 2**60]},
        settings={"a": True},
    )
    write(world, thing, Thing(id=uuid.UUID(int=8)))
    names = [attribute.key for attribute in inspect(Thing).column_attrs]
    with world.sessions() as session:
        for loaded in session.scalars(select(Thing)):
            expected = {name: getattr(loaded, name) for name in names}
            found = world.trail.as_of(session, Thing, loaded.id, datetime.now(UTC))
            assert found is not None
            assert expected == found.values
            del expected["settings"]  # mutable, by a class of its own
            assert {n: type(v) for n, v in expected.items()} == {
                n: type(found[n]) for n in expected
            }


def test_missing_values_are_marked(world: World) -> None:
    """Redacted and long values have stand-ins, excluded columns are absent."""
    bio = "long " * 5000
    write(
        world,
        Account(id=1, owner="kim", iban="DE02", notes="private"),
        Person(id=1, name="kim", bio=bio),
        Profile(id=1, data={"bank": {"iban": "DE02"}, "plain": 1}),
    )
    account = known(world, Account, 1).values
    assert {"id", "owner", "iban", "password_hash", "touched_at"} == account.keys()
    assert isinstance(account["iban"], Redacted)
    assert len(str(account["iban"].fingerprint)) > 10
    assert account["password_hash"] is None
    digest = hashlib.sha256(bio.encode()).hexdigest()
    assert Digest(length=len(bio), sha256=digest) == known(world, Person, 1)["bio"]
    assert isinstance(known(world, Profile, 1)["data"]["bank"]["iban"], Redacted)
    assert known(world, Profile, 1)["data"]["plain"] == 1


def test_columns_that_are_gone_keep_their_recorded_names(world: World) -> None:
    """A column of an earlier model is shown as it was recorded, and none is guessed."""
    record = AuditRecord(
        event_id=uuid7(1, bytes(10)),
        occurred_at=BEGINNING,
        action="tag.create",
        actor=Actor.unknown(),
        tx_id="1",
        service=Service(name="earlier"),
        target=Target(type="tag", id="5"),
        changes={"id": {"new": 5}, "title": {"new": "old"}, "since": {"new": "2026-01-01"}},
    )
    with world.engine.begin() as connection:
        insert_records(connection, world.trail.tables, [record], KEY)
    assert {"id": 5, "title": "old", "since": "2026-01-01"} == dict(
        known(world, Tag, 5, BEGINNING).values
    )


def test_a_state_ends_with_an_event_or_a_change_id(world: World) -> None:
    """Also with the event of another object, or with one that changed nothing."""
    write(world, Tag(id=1, name="a"))
    with world.unit_of_work() as session:
        world.trail.record(session, "tag.printed")
    with world.unit_of_work() as session:
        session.get_one(Tag, 1).name = "b"
    write(world, Tag(id=2, name="other"))
    with world.unit_of_work() as session:
        session.get_one(Tag, 1).name = "c"
    with world.sessions() as session:
        last, other, second, printed, first = world.trail.events(session)
    names = [known(world, Tag, 1, one)["name"] for one in (first, printed, second, other, last)]
    assert ["a", "a", "b", "b", "c"] == names
    ids = [one.change_id for one in (first, second, other, last)]
    assert ["a", "b", "b", "c"] == [known(world, Tag, 1, one)["name"] for one in ids]
    assert state(world, Tag, 2, second) is None
    assert last == known(world, Tag, 1).event


def test_an_object_has_its_class_of_the_time(world: World) -> None:
    """It is found as an object of its base class too, and of no other."""
    write(world, Engineer(id=1, name="kim", field="tunnels"), Dog(id=1, name="rex", trick="sit"))
    worker = known(world, Worker, 1)
    assert ("engineer", "tunnels") == (worker.type, worker["field"])
    with world.unit_of_work() as session:
        session.execute(text("UPDATE animal SET kind = 'cat'"))
    assert ("cat", "rex") == (known(world, Animal, 1).type, known(world, Animal, 1)["name"])
    assert state(world, Dog, 1) is None


def test_a_key_that_changes_takes_its_object_along(world: World) -> None:
    """Before and after, under both keys."""
    write(world, Country(code="a", name="A"))
    before = datetime.now(UTC)
    with world.unit_of_work() as session:
        session.get_one(Country, "a").code = "b"
    write(world, Country(code="a", name="another"))
    assert ["A", None] == [
        found and found["name"] for found in (state(world, Country, c, before) for c in "ab")
    ]
    assert ["another", "A"] == [known(world, Country, code)["name"] for code in "ab"]


def test_tables_without_a_model_and_composite_keys_are_found(world: World) -> None:
    """By the table, and by a tuple."""
    with world.unit_of_work() as session:
        session.execute(rate.insert().values(currency="EUR", day=1, value=2))
        session.add(Seat(row="a", number=2))
    assert known(world, rate, ("EUR", 1))["value"] == 2
    assert known(world, Seat, ("a", 2))["taken"] is False
    assert state(world, Seat, ("a", 3)) is None


def test_links_end_with_their_object(world: World) -> None:
    """Links are those of the time; there are none without the object."""
    write(world, Post(id=1, title="p", tags=[Tag(id=1, name="x"), Tag(id=2, name="y")]))
    linked = datetime.now(UTC)
    with world.unit_of_work() as session:
        post = session.get_one(Post, 1)
        post.tags.remove(session.get_one(Tag, 2))
    unlinked = datetime.now(UTC)
    with world.unit_of_work() as session:
        session.delete(session.get_one(Post, 1))
    assert {"tags": ("1", "2"), "friends": ()} == dict(known(world, Post, 1, linked).links)
    assert {"tags": ("1",), "friends": ()} == dict(known(world, Post, 1, unlinked).links)
    assert state(world, Post, 1) is None


def test_a_history_without_a_beginning_is_incomplete(world: World) -> None:
    """The columns that changed are known, and no others."""
    write(world, Tag(id=1, name="a"))
    with world.unit_of_work() as session:
        session.get_one(Tag, 1).name = "b"
    damage(world.engine, "DELETE FROM audit_event WHERE id = 1")
    found = known(world, Tag, 1)
    assert ({"name": "b"}, False) == (dict(found.values), found.is_complete)


def test_a_target_names_its_object(world: World) -> None:
    """As the trail records it: with a key of several columns, and whatever class the object has."""
    write(world, Dog(id=1, name="Rex"), Seat(row="a", number=1, taken=True))
    targets = (("dog", "1"), ("animal", "1"), ("seat", '["a","1"]'), ("seat", '["b","1"]'))
    dog, seat = known(world, Animal, 1), known(world, Seat, ("a", 1))
    found = [state(world, Target(type=type_, id=id_), None) for type_, id_ in targets]
    assert [dog, dog, seat, None] == found
    with pytest.raises(AuditConfigError, match="has the target type 'nothing'"):
        state(world, Target(type="nothing", id="1"), None)
    for id_ in ("x", "1", '["a"]'):
        with pytest.raises(AuditConfigError, match="expected a primary key of seat"):
            state(world, Target(type="seat", id=id_), None)


def test_a_state_has_the_recorded_form_of_its_values(world: World) -> None:
    """The order is that of the events."""
    write(world, Tag(id=1, name="a"))
    found = known(world, Tag, 1)
    assert {"id": "1", "name": "a"} == {name: str(found.recorded[name]) for name in found.values}


REFUSED: dict[str, tuple[Any, str]] = {
    "a time without a zone": (datetime(2026, 1, 1), "no time zone"),  # noqa: DTZ001 (the claim)
    "a time without a date in UTC": (
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        "outside of the years",
    ),
    "an unaudited model": (BEGINNING, "not an audited model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_impossible_question_is_an_error(world: World, case: str) -> None:
    """And not None."""
    when, message = REFUSED[case]
    model = Plain if "model" in case else Tag
    write(world, Tag(id=1, name="a"))
    with pytest.raises(AuditConfigError, match=message):
        state(world, model, 1, when)


def test_a_damaged_event_is_an_error(world: World) -> None:
    """An unknown state is an error."""
    write(world, Tag(id=1, name="a"))
    damage(world.engine, "UPDATE audit_event SET body = '{}' WHERE id = 1")
    with pytest.raises(AuditBodyError, match="audit row 1 cannot be read"):
        state(world, Tag, 1)


def test_reading_a_state_leaves_open_work_alone(world: World) -> None:
    """Uncommitted changes are not in it."""
    write(world, Tag(id=1, name="a"))
    with world.unit_of_work() as session:
        session.get_one(Tag, 1).name = "b"
        session.flush()
        assert "a" == _name(world, session)


def _name(world: World, session: Session) -> Any:
    found = world.trail.as_of(session, Tag, 1, datetime.now(UTC))
    return found and found["name"]
