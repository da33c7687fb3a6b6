"""Create, update and delete: the row says what happened, with true old and new values."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.orm import Session, load_only, make_transient

from integration.library.models import Fan, Person, Plain, Player, Seat, Team
from integration.library.world import World

KIM: dict[str, Any] = {
    "id": 1,
    "name": "kim",
    "fullName": "Kim",
    "age": 18,
    "active": True,
    "level": 7,
    "bio": "long",
    "changes": 0,
    "touched": None,
    "version": 1,
}


def changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The changes of an update, with what every update of a person brings along."""
    return {name: {"old": old[name], "new": new[name]} for name in new if old[name] != new[name]}


@pytest.fixture
def kim(world: World) -> int:
    """A person who is there already."""
    with world.unit_of_work() as session:
        session.add(Person(name="kim", full_name="Kim", bio="long"))
    return 1


def test_a_create_has_every_column_with_the_values_that_the_database_made(world: World) -> None:
    """Key, defaults, server defaults and version are in the row of a create; `old` is absent."""
    with world.unit_of_work() as session:
        session.add(Person(name="kim", full_name="Kim", bio="long"))
    assert "person.create" == world.last()["action"]
    assert {"type": "person", "id": "1", "version": 1} == world.last()["target"]
    assert {name: {"new": value} for name, value in KIM.items()} == world.last()["changes"]


def test_an_update_has_only_what_changed(world: World, kim: int) -> None:
    """Old and new value of each changed column, `onupdate` columns and version included."""
    with world.unit_of_work() as session:
        person = session.get_one(Person, kim)
        person.full_name = "Kim Park"
        person.age = 18
    after = KIM | {"fullName": "Kim Park", "changes": 5, "touched": "touched", "version": 2}
    assert {"type": "person", "id": "1", "version": 2} == world.last()["target"]
    assert changed(KIM, after) == world.last()["changes"]


def test_a_delete_has_every_old_value(world: World, kim: int) -> None:
    """A delete shows what is lost, also of columns that were never loaded; `new` is absent."""
    with world.unit_of_work() as session:
        session.delete(session.get_one(Person, kim, options=[load_only(Person.name)]))
    assert "person.delete" == world.last()["action"]
    assert {"type": "person", "id": "1", "version": 1} == world.last()["target"]
    assert {name: {"old": value} for name, value in KIM.items()} == world.last()["changes"]


def expired(session: Session, person: Person) -> Person:
    session.expire(person)
    return person


def expired_by_commit(session: Session, person: Person) -> Person:
    session.commit()
    return person


def partly_loaded(session: Session, _person: Person) -> Person:
    session.expunge_all()
    return session.scalars(select(Person).options(load_only(Person.name))).one()


def merged(session: Session, person: Person) -> Person:
    session.expunge(person)
    return session.merge(person, load=True)


def attached_again(session: Session, person: Person) -> Person:
    session.expunge(person)
    session.add(person)
    return person


def refreshed(session: Session, person: Person) -> Person:
    person.full_name = "never written"
    session.refresh(person)
    return person


@pytest.mark.parametrize(
    "reach", [expired, expired_by_commit, partly_loaded, merged, attached_again, refreshed]
)
def test_the_old_value_is_that_of_the_database(world: World, kim: int, reach: Any) -> None:
    """However the object came to be at hand, loaded or not, the old values are true."""
    with world.request(), world.sessions() as session:
        person = reach(session, session.get_one(Person, kim))
        person.full_name, person.bio = "Kim Park", "short"
        session.commit()
    changes = world.last()["changes"]
    assert {"old": "Kim", "new": "Kim Park"} == changes["fullName"]
    assert {"old": "long", "new": "short"} == changes["bio"]


def test_a_detached_object_changed_outside_keeps_its_old_value(world: World, kim: int) -> None:
    """An assignment outside of a session is a change like any other."""
    with world.sessions() as session:
        person = session.get_one(Person, kim)
    person.full_name = "Kim Park"
    with world.unit_of_work() as session:
        session.add(person)
    assert {"old": "Kim", "new": "Kim Park"} == world.last()["changes"]["fullName"]


def test_merged_copy_is_an_update_of_the_differences(world: World, kim: int) -> None:
    """A copy made from outside, as from a form, is compared with what is there."""
    with world.sessions() as session:
        copy = session.get_one(Person, kim)
        inspect(copy).session.expunge(copy)  # type: ignore[union-attr]
        make_transient(copy)
        copy.full_name = None
    with world.unit_of_work() as session:
        session.merge(copy)
    assert {"old": "Kim", "new": None} == world.last()["changes"]["fullName"]
    assert {"fullName", "changes", "touched", "version"} == set(world.last()["changes"])


def test_an_expression_has_its_true_old_and_new_value(world: World, kim: int) -> None:
    """`age = age + 1` is computed by the database, and the row has both numbers."""
    with world.unit_of_work() as session:
        person = session.get_one(Person, kim)
        person.age = Person.age + 1
        session.flush()
        person.age = Person.age + 1
    assert [{"old": 18, "new": 19}, {"old": 19, "new": 20}] == [
        event["changes"]["age"] for event in world.events()[1:]
    ]


def test_an_expression_in_a_create_has_the_value_that_it_made(world: World) -> None:
    """Values that the database computes for a new row are in its record."""
    with world.unit_of_work() as session:
        session.add(Person(name="kim", age=text("40 + 2")))
    assert {"new": 42} == world.last()["changes"]["age"]


def test_update_to_the_same_value_leaves_no_row(world: World) -> None:
    """`taken = taken` runs an UPDATE, but nothing has changed, and no row says so."""
    with world.unit_of_work() as session:
        session.add(Seat(row="a", number=1))
    with world.unit_of_work() as session:
        session.get_one(Seat, ("a", 1)).taken = Seat.taken
    assert ["seat.create"] == world.actions()


def test_a_changed_primary_key_leads_from_the_old_id_to_the_new_one(world: World, kim: int) -> None:
    """The target has the new id, and the change of the key column has both."""
    with world.unit_of_work() as session:
        session.get_one(Person, kim).id = 99
    assert "99" == world.last()["target"]["id"]
    assert {"old": 1, "new": 99} == world.last()["changes"]["id"]


def test_a_composite_key_can_be_read_back(world: World) -> None:
    """A composite key is a JSON array, the same in create, update, delete and change of key."""
    with world.unit_of_work() as session:
        session.add(Seat(row='a","b', number=1))
    with world.unit_of_work() as session:
        session.get_one(Seat, ('a","b', 1)).taken = True
    with world.unit_of_work() as session:
        session.get_one(Seat, ('a","b', 1)).number = 2
    with world.unit_of_work() as session:
        session.delete(session.get_one(Seat, ('a","b', 2)))
    one, two = r'["a\",\"b",1]', r'["a\",\"b",2]'
    assert [one, one, two, two] == [event["target"]["id"] for event in world.events()]


def test_several_flushes_are_several_rows_of_one_transaction(world: World) -> None:
    """Every flush has its rows, in order, under one transaction id; the version counts on."""
    with world.unit_of_work() as session:
        person = Person(name="kim")
        session.add(person)
        for name in ("a", "b"):
            session.flush()
            person.full_name = name
        session.flush()
        session.delete(person)
    assert ["create", "update", "update", "delete"] == [
        action.removeprefix("person.") for action in world.actions()
    ]
    assert 1 == len({event["tx_id"] for event in world.events()})
    assert [1, 2, 3, 3] == [event["target"]["version"] for event in world.events()]


def test_unflushed_object_leaves_no_row(world: World) -> None:
    """Added and expunged, or added and deleted before a flush: nothing happened."""
    with world.unit_of_work() as session:
        person = Person(name="kim")
        session.add(person)
        session.expunge(person)
        session.add(Plain(name="not audited"))
    assert [] == world.actions()


def test_cascades_of_the_unit_of_work_leave_a_row_each(world: World) -> None:
    """Children that go with their parent, orphans, and keys that become NULL are changes too."""
    with world.unit_of_work() as session:
        team = Team(name="a", players=[Player(name="x"), Player(name="y")], fans=[Fan()])
        session.add(team)
    with world.unit_of_work() as session:
        team = session.get_one(Team, 1)
        del team.players[0]
    with world.unit_of_work() as session:
        session.delete(session.get_one(Team, 1))
    made = sorted(world.actions()[:4])
    assert ["fan.create", "player.create", "player.create", "team.create"] == made
    assert "player.delete" == world.actions()[4]
    assert ["fan.update", "player.delete", "team.delete"] == sorted(world.actions()[5:])
    (fan,) = [event for event in world.events() if event["action"] == "fan.update"]
    assert {"team_id": {"old": 1, "new": None}} == fan["changes"]


def test_many_objects_in_one_flush_have_a_row_each(world: World) -> None:
    """Batched statements (insertmanyvalues, executemany) hide no row, and ids are the true ones."""
    world.counts_span_events = False
    with world.unit_of_work() as session:
        session.add_all([Person(name=f"p{n}") for n in range(1001)])
    with world.unit_of_work() as session:
        for person in session.scalars(select(Person)):
            person.age = Person.age + 1
    assert {"person.create": 1001, "person.update": 1001} == {
        action: world.actions().count(action) for action in set(world.actions())
    }
