"""The trail, read back by the application that writes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any, cast

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from auditspan import Actor, Request, Target, audit_context
from auditspan.errors import AuditBodyError, AuditConfigError
from auditspan.format import Outcome
from auditspan.reading import Event, Exclusions, search
from auditspan.storage import nearby
from integration.library.models import Person, Seat
from integration.library.world import World, make_world

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
ACTORS = (
    Actor.user(7, label="kim"),
    Actor.user(8, label="7"),  # a label that is the id of another
    Actor.service("billing"),
)

OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "unknown")
Body = dict[str, Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def written(request: pytest.FixtureRequest) -> World:
    """Thirty events of three actors, on a clock that ticks by the hour."""
    hours = count()
    world = make_world(
        request.getfixturevalue(f"{request.param}_engine"),
        clock=lambda: BEGINNING + timedelta(hours=next(hours)),
    )
    trail = world.trail
    for number in range(10):
        actor = ACTORS[number % 3]
        with audit_context(
            actor=actor,
            on_behalf_of=ACTORS[0] if number % 2 else None,
            request=Request(id=f"request-{number % 4}"),
            tenant="north" if number < 5 else "south",
            reason='50% "off" Ä_b' if number == 3 else None,
        ):
            with world.sessions.begin() as session:
                person = Person(name=f"person {number}")
                session.add(person)
                session.flush()
                trail.record(session, "person.called", target=person, outcome=OUTCOMES[number % 3])
            with world.sessions.begin() as session:
                session.get_one(Person, number + 1).age = 30 + number
    return world


EVERY = {"action": "person.*"}
CRITERIA: dict[str, tuple[dict[str, Any], Callable[[Body], bool]]] = {
    "nothing": ({}, lambda _: True),
    "an id": ({"actor": "7"}, lambda body: body["actor"]["id"] == "7"),
    "a label": ({"actor": "kim"}, lambda body: body["actor"]["label"] == "kim"),
    "an unknown actor": ({"actor": "nobody"}, lambda _: False),
    "on behalf of": (
        {"on_behalf_of": "kim"},
        lambda body: (body["on_behalf_of"] or {}).get("label") == "kim",
    ),
    "an action": ({"action": "person.update"}, lambda body: body["action"] == "person.update"),
    "any action of a type": (EVERY, lambda _: True),
    "a kind of action": ({"action": "*.c*"}, lambda body: body["action"] != "person.update"),
    "no action of this case": ({"action": "Person.*"}, lambda _: False),
    "an action with a wild card of SQL": ({"action": "person.cr_ate"}, lambda _: False),
    "a model": ({"target": Person}, lambda _: True),
    "a model without events": ({"target": Seat}, lambda _: False),
    "a target": (
        {"target": Target(type="person", id="3")},
        lambda body: body["target"]["id"] == "3",
    ),
    "a column": ({"field": "age"}, lambda body: "age" in body["changes"]),
    "no column": ({"field": "person"}, lambda _: False),
    "an outcome": ({"outcome": "failure"}, lambda body: body["outcome"] == "failure"),
    "a time": (
        {"since": BEGINNING + timedelta(hours=4), "until": BEGINNING + timedelta(hours=9)},
        lambda body: (
            "T04" <= body["occurred_at"][10:13] < "T09"
            and body["occurred_at"].startswith("2026-01-01")
        ),
    ),
    "a request": (
        {"request_id": "request-1"},
        lambda body: body["request"]["id"] == "request-1",
    ),
    "a tenant": ({"tenant": "north"}, lambda body: body["tenant"] == "north"),
    "a trace": ({"trace_id": TRACE}, lambda _: False),
    "text of a reason": (
        {"text": '0% "OFF" Ä_'},
        lambda body: body["reason"] is not None,
    ),
    "two at once": (
        {"actor": "billing", "action": "person.c*", "tenant": "south"},
        lambda body: (
            body["actor"]["id"] == "billing"
            and body["action"] != "person.update"
            and body["tenant"] == "south"
        ),
    ),
}


@pytest.mark.parametrize("page", [2, 500])
def test_a_search_finds_what_meets_all_criteria(
    written: World, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the criterion, and in pages of any size, newest first."""
    monkeypatch.setattr(search, "PAGE", page)
    bodies = written.events()[::-1]
    with written.sessions() as session:
        for name, (criteria, holds) in CRITERIA.items():
            found = [event.event_id for event in written.trail.events(session, **criteria)]
            assert (name, [body["event_id"] for body in bodies if holds(body)]) == (name, found)
    assert 30 == len(bodies)


NEGATABLE = [
    name
    for name, (criteria, _) in CRITERIA.items()
    if len(criteria) == 1 and not {"target", "since"} & set(criteria) and criteria != EVERY
]


def test_exclusion_leaves_out_what_its_criterion_finds(written: World) -> None:
    """Each criterion, excluded, finds the other events, and those without a value."""
    bodies = written.events()[::-1]
    with written.sessions() as session:
        for name in NEGATABLE:
            criteria, holds = CRITERIA[name]
            found = written.trail.events(session, exclude=cast("Exclusions", criteria))
            expected = [body["event_id"] for body in bodies if not holds(body)]
            assert (name, expected) == (name, [event.event_id for event in found])
        both: Exclusions = {"actor": "kim", "field": "age"}
        mixed = written.trail.events(session, outcome="success", exclude=both)
        assert [
            body["event_id"]
            for body in bodies
            if body["outcome"] == "success"
            and body["actor"]["label"] != "kim"
            and "age" not in body["changes"]
        ] == [event.event_id for event in mixed]


def test_transactions_are_found(written: World) -> None:
    """All events of one transaction, by its id."""
    with written.sessions() as session:
        newest = next(written.trail.events(session, action="person.called"))
        found = written.trail.events(session, tx_id=newest.tx_id)
        assert ["person.called", "person.create"] == sorted(event.action for event in found)


def test_an_event_has_the_members_of_its_body(written: World) -> None:
    """Typed, with times in UTC and both sides of every change."""
    with written.sessions() as session:
        for body, event in zip(written.events()[::-1], written.trail.events(session), strict=True):
            assert (body["occurred_at"], body["changes"], body["metadata"]) == (
                event.occurred_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                event.changes,
                event.metadata,
            )
            assert body["actor"] == {
                "type": event.actor.type,
                "id": event.actor.id,
                "label": event.actor.label,
            }
            assert event.request is not None
            assert body["request"]["id"] == event.request.id
    created, *_, updated = events_of(written, 10)
    assert ({}, "person 9") == (created.old, created.new["name"])
    assert (18, 39) == (updated.old["age"], updated.new["age"])
    assert updated.recorded_at.tzinfo is not None


def events_of(world: World, key: int) -> list[Event]:
    """The history of one person."""
    with world.sessions() as session:
        return world.trail.history(session, Person, key)


def test_a_history_takes_an_object_a_model_with_a_key_or_a_target(written: World) -> None:
    """The same events each time, oldest first, on a session or a connection."""
    target = Target(type="person", id="4")
    with written.sessions() as session:
        person = session.get_one(Person, 4)
        found = [
            written.trail.history(session, person),
            written.trail.history(session, Person, 4),
            written.trail.history(session, target),
        ]
    with written.engine.connect() as connection:
        found.append(written.trail.history(connection, target))
    assert [["person.create", "person.called", "person.update"]] * 4 == [
        [event.action for event in events] for events in found
    ]


def test_a_history_takes_a_composite_key(world: World) -> None:
    """As a tuple, in the order of the columns."""
    with world.unit_of_work() as session:
        session.add(Seat(row="a", number=2))
    with world.sessions() as session:
        assert ["seat.create"] == [e.action for e in world.trail.history(session, Seat, ("a", 2))]
        assert [] == world.trail.history(session, Seat, ("b", 2))


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "outcome": ({"outcome": "good"}, "invalid outcome 'good'"),
    "trace": ({"trace_id": "abc"}, "invalid trace_id 'abc'"),
    "time before the year 1": (
        {"since": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
        "outside of the years 1 to 9999",
    ),
    "naive time": ({"since": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001 (the claim)
    "empty time": ({"since": BEGINNING, "until": BEGINNING}, "not before until"),
    "excluded as well": (
        {"action": "person.create", "exclude": {"action": "person.*"}},
        "action is excluded",
    ),
    "action without a verb": ({"action": "person"}, "such as user.update or user.*"),
    "every action excluded": ({"exclude": {"action": "*"}}, "action is excluded"),
    "excluded outcome": ({"exclude": {"outcome": "good"}}, "invalid outcome 'good'"),
    "not audited": ({"target": World}, "is not an audited model"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_criterion_that_no_event_can_meet_is_an_error(written: World, case: str) -> None:
    """At the call, and not an empty list."""
    criteria, message = IMPOSSIBLE[case]
    with written.sessions() as session, pytest.raises(AuditConfigError, match=message):
        written.trail.events(session, **criteria)


def test_an_unknown_criterion_is_an_error(written: World) -> None:
    """As any unknown argument is."""
    unknown: Any = {"colour": "red"}
    with written.sessions() as session, pytest.raises(TypeError, match="colour"):
        written.trail.events(session, **unknown)


def damage(engine: Engine, change: str) -> None:
    """Change rows after removing the guards."""
    connection = engine.raw_connection()
    cursor = connection.cursor()
    if engine.dialect.name == "sqlite":
        cursor.execute(
            "SELECT name FROM sqlite_master WHERE tbl_name = 'audit_event' AND type = 'trigger'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP TRIGGER "{name}"')
    else:
        cursor.execute("ALTER TABLE audit_event DISABLE TRIGGER USER")
    cursor.execute(change)
    connection.commit()
    connection.close()


def test_damaged_events_are_listed_as_unreadable(written: World) -> None:
    """One bad body hides none of the others, and the columns tell what they can."""
    damage(written.engine, "UPDATE audit_event SET body = '{}' WHERE id = 2")
    with written.sessions() as session:
        found = list(written.trail.events(session))
        assert 30 == len(found)
        (damaged,) = [event for event in found if event.unreadable]
        assert ("person.called", "7") == (damaged.action, damaged.actor.id)
        assert BEGINNING.year == damaged.occurred_at.year
        assert damaged in written.trail.history(session, Person, 1)


@pytest.mark.parametrize("written", ["sqlite"], indirect=True)
def test_invalid_time_is_an_error_of_its_event_only(written: World) -> None:
    """SQLite keeps anything; the event is listed, and its time cannot be told."""
    damage(written.engine, "UPDATE audit_event SET body = 'x', occurred_at = 'noon' WHERE id = 2")
    with written.sessions() as session:
        (damaged,) = [event for event in written.trail.events(session) if event.unreadable]
    with pytest.raises(AuditBodyError, match="invalid time 'noon"):
        _ = damaged.occurred_at


def test_reading_leaves_open_work_alone(world: World) -> None:
    """Uncommitted changes are not read, and reading does not record them early."""
    with world.unit_of_work() as session:
        session.add(Person(name="ann"))
        session.flush()
        assert [] == list(world.trail.events(session))
    with sessionmaker(world.engine)() as session:
        assert ["person.create"] == [event.action for event in world.trail.events(session)]


@pytest.mark.parametrize(
    "until", [2, 28, *(pytest.param(hour, marks=pytest.mark.slow) for hour in (0, 20, 31))]
)
def test_end_of_a_span_finds_events_that_came_late(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    """Every earlier event is found, also one that happened at hour 1 and was recorded last."""
    for name in ("_LATER", "_LAST_FEW"):
        monkeypatch.setattr(nearby, name, 2)
    now = BEGINNING
    world = make_world(engine, clock=lambda: now)
    end = BEGINNING + timedelta(hours=until)
    recorded: list[datetime] = []
    for hour in (*range(30), 1):
        recorded.append(now := BEGINNING + timedelta(hours=hour))
        with audit_context(actor=ACTORS[0]), world.sessions.begin() as session:
            world.trail.record(session, "person.called")
        with world.sessions() as session:
            found = [one.occurred_at for one in world.trail.events(session, until=end)]
        assert [moment for moment in reversed(recorded) if moment < end] == found
