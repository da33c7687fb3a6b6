"""Values of every kind: what stands in a row is what stands in the table, and no change is none."""

from __future__ import annotations

import copy
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func
from sqlalchemy.orm.attributes import flag_modified

from integration.library.models import Colour, Person, Thing
from integration.library.world import World
from support.decode import decode, parse_duration

KEY = uuid.UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOKYO = timezone(timedelta(hours=9))

ZONED = {
    "postgresql": "2026-01-01T12:00:00.000000Z",
    "sqlite": "2026-01-01T12:00:00.000000",
}
"""SQLite's column holds no zone, and so does the trail."""

#: column, two values, and the recorded form of each, where it matters by database
KINDS: list[tuple[str, Any, Any, Any, Any]] = [
    ("price", Decimal("1.50"), Decimal("-2.00"), "1.5", "-2"),
    ("ratio", 0.1, 1e300, "0.1", None),
    ("big", 2**53 - 1, 2**53, 2**53 - 1, str(2**53)),
    ("big", -(2**63), 2**63 - 1, str(-(2**63)), str(2**63 - 1)),
    ("flag", True, False, True, False),
    ("colour", Colour.RED, Colour.BLUE, "RED", "BLUE"),
    ("born", date(2026, 1, 1), date(1, 1, 1), "2026-01-01", "0001-01-01"),
    ("at", time(1, 2, 3, 4), time(0), "01:02:03.000004", None),
    ("seen", NOON, NOON + timedelta(microseconds=1), ZONED, None),
    ("naive", datetime(2026, 1, 1), datetime(1999, 1, 1), "2026-01-01T00:00:00.000000", None),  # noqa: DTZ001
    ("span", timedelta(days=1, microseconds=1), timedelta(hours=-1), None, None),
    ("raw", b"\0\xff", b"", "AP8=", ""),
    ("text", "a", "€😀", "a", "€😀"),
    ("text", None, "", None, ""),
    ("data", {"a": [1, None, True]}, [1], {"a": [1, None, True]}, [1]),
    ("data", {"a": 1.5}, {"a": "1.5"}, {"$json": '{"a":1.5}'}, {"a": "1.5"}),
    ("data", {"é": 1}, {"$json": "1"}, {"$json": '{"\\u00e9":1}'}, {"$json": '{"$json":"1"}'}),
]


def put(world: World, **values: Any) -> None:
    """Create the thing."""
    with world.unit_of_work() as session:
        session.add(Thing(id=KEY, **values))


def change(world: World, **values: Any) -> None:
    """Change the thing."""
    with world.unit_of_work() as session:
        thing = session.get_one(Thing, KEY)
        for name, value in values.items():
            setattr(thing, name, value)


@pytest.mark.parametrize(("column", "one", "other", "shown", "shown_other"), KINDS)
def test_value_of_each_type_is_recorded_in_its_format(
    world: World, column: str, one: Any, other: Any, shown: Any, shown_other: Any
) -> None:
    """Create, change there and back, and delete show the same two forms for the same two values."""
    put(world, **{column: one})
    change(world, **{column: other})
    change(world, **{column: one})
    with world.unit_of_work() as session:
        session.delete(session.get_one(Thing, KEY))
    created, changed, back, deleted = [event["changes"] for event in world.events()]
    shown = shown[world.engine.dialect.name] if shown is ZONED else shown
    first, second = changed[column]["old"], changed[column]["new"]
    assert {column} == set(changed) == set(back)
    assert first == created[column]["new"] == back[column]["new"] == deleted[column]["old"]
    assert second == back[column]["old"]
    assert first == (first if shown is None and one is not None else shown)
    assert second == (second if shown_other is None else shown_other)


def test_an_interval_is_an_iso_8601_duration(world: World) -> None:
    """An interval is read back from the trail, negative ones too."""
    for span in (timedelta(days=400, hours=5, microseconds=7), timedelta(seconds=-90)):
        world.kinds = {}
        with world.unit_of_work() as session:
            session.add(Thing(id=uuid.uuid4(), span=span))
        assert span == parse_duration(world.last()["changes"]["span"]["new"])


@pytest.mark.parametrize(
    ("column", "one", "same"),
    [
        ("price", Decimal("1.50"), Decimal("1.5")),
        ("price", Decimal("1.50"), Decimal("1.500")),
        ("seen", NOON, NOON.astimezone(TOKYO)),
        ("ratio", 1.0, 1),
        ("data", {"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ("data", [1, 2], (1, 2)),
        ("text", "a", "a"),
        ("flag", True, 1),
        ("big", 5, 5),
        ("colour", Colour.RED, Colour.RED),
        ("text", None, None),
    ],
)
def test_equal_value_leaves_no_row(world: World, column: str, one: Any, same: Any) -> None:
    """1.50 is 1.5 and noon in London is nine in Tokyo: assigning it again leaves no row."""
    put(world, **{column: one})
    change(world, **{column: same})
    assert ["thing.create"] == world.actions()


def test_change_undone_before_the_flush_leaves_no_row(world: World) -> None:
    """Values that the database never had are not in the trail."""
    put(world, text="a")
    with world.unit_of_work() as session:
        thing = session.get_one(Thing, KEY)
        thing.text = "b"
        thing.text = "a"
        flag_modified(thing, "price")
    assert ["thing.create"] == world.actions()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.5, "1.5"),
        (2**60, str(2**60)),
        (True, 1),
        ({"a": True}, {"a": 1}),
        ({"a": 0}, {"a": False}),
        ({"a": 1.5}, {"a": "1.5"}),
        ([], {}),
    ],
    ids=repr,
)
def test_another_json_value_is_a_change(world: World, one: Any, other: Any) -> None:
    """JSON tells a number from its text and true from 1; so does the trail."""
    put(world, data=one)
    with world.unit_of_work() as session:
        thing = session.get_one(Thing, KEY)
        thing.data = other
        flag_modified(thing, "data")  # Python says that True == 1 and would not write it
    assert ["thing.create", "thing.update"] == world.actions()
    assert {"data"} == set(world.last()["changes"])


def test_json_changed_in_place_has_its_old_value(world: World) -> None:
    """A mutable type notices a change in place; the old value is not the object that changed."""
    put(world, settings={"a": 1})
    with world.unit_of_work() as session:
        thing = session.get_one(Thing, KEY)
        assert thing.settings is not None
        thing.settings["a"] = 2
    assert {"settings": {"old": {"a": 1}, "new": {"a": 2}}} == world.last()["changes"]


def test_json_changed_in_place_in_a_new_object_is_what_was_written(world: World) -> None:
    """A second flush in the same transaction sees the value of the first as the old one."""
    with world.unit_of_work() as session:
        thing = Thing(id=KEY, settings={"a": 1}, data={"b": [1]})
        session.add(thing)
        session.flush()
        assert thing.settings is not None
        thing.settings["a"] = 2
        thing.data["b"].append(2)
        flag_modified(thing, "data")
        session.flush()
    assert {
        "settings": {"old": {"a": 1}, "new": {"a": 2}},
        "data": {"old": {"b": [1]}, "new": {"b": [1, 2]}},
    } == world.last()["changes"]


def test_json_changed_in_place_and_flagged_has_its_old_value(world: World) -> None:
    """`flag_modified` after a change in place leaves no old value in Python; it is read."""
    put(world, data={"a": [1]})
    with world.unit_of_work() as session:
        thing = session.get_one(Thing, KEY)
        thing.data["a"].append(2)
        flag_modified(thing, "data")
    assert {"data": {"old": {"a": [1]}, "new": {"a": [1, 2]}}} == world.last()["changes"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("price", Decimal("1.999")),
        ("price", 2),
        ("price", 0.1),
        ("ratio", Decimal("0.5")),
        ("flag", 1),
        ("data", {1: "a"}),
        ("data", (1, 2)),
        ("seen", NOON.astimezone(TOKYO)),
    ],
    ids=repr,
)
def test_value_altered_by_the_database_is_recorded_as_stored(
    world: World, column: str, value: Any
) -> None:
    """Numbers that are rounded and values that are converted on their way stand as they are kept.

    The oracle compares the trail with the table after this, for the create and for the update.
    """
    put(world, **{column: value})
    change(world, text="something else")
    change(world, **{column: None})
    change(world, **{column: copy.copy(value)})
    assert [{"text"}, {column}, {column}] == [set(e["changes"]) for e in world.events()[1:]]


@pytest.mark.parametrize("expression", [None, func.upper("abc")], ids=["value", "expression"])
def test_a_large_value_is_its_length_and_hash(world: World, expression: Any) -> None:
    """A value over 16 KiB is in the table whole, and in the trail by length and hash."""
    put(world, text="x" * 16_385, raw=b"\0" * 20_000, data=["é"] * 9000)
    change(world, text="y" * 16_384 if expression is None else expression)
    created = world.events()[0]["changes"]
    assert {"$len", "$sha256"} == set(created["text"]["new"]) == set(created["data"]["new"])
    assert [16_385, 26_668] == [created[name]["new"]["$len"] for name in ("text", "raw")]
    assert created["text"]["new"] == world.last()["changes"]["text"]["old"]


def test_odd_text_can_be_read_back(world: World) -> None:
    """Text is kept as it is: line ends, quotes, right-to-left marks, what looks like markup."""
    text = "\r\n\t\"'\\\u202e</script>\u2028\x7f\x01"
    put(world, text=text, data={"a": text})
    changes = world.last()["changes"]
    assert text == decode(changes["text"]["new"]) == decode(changes["data"]["new"])["a"]


def test_a_secret_that_looks_like_a_key_word_is_an_ordinary_value(world: World) -> None:
    """Names of Python's own, as attributes of bodies, are ordinary keys."""
    with world.unit_of_work() as session:
        session.add(Person(name="__class__", full_name="$redacted"))
    assert {"new": "$redacted"} == world.last()["changes"]["fullName"]
