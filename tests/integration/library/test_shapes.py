"""The unit of work over models of every shape, and what the database changes by itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, event, insert, update
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    configure_mappers,
    mapped_column,
)

from auditspan import AuditConfigError
from integration.library.models import Person, Seat, Thing
from integration.library.shapes import (
    Animal,
    Article,
    Cat,
    City,
    Country,
    Dog,
    Engineer,
    Folder,
    Member,
    Node,
    Paper,
    Post,
    Shelf,
    Tag,
    Unit,
    Watcher,
    Worker,
)
from integration.library.world import World

Step = Callable[[Session], Any]


def steps(world: World, *works: Step) -> list[str]:
    """Each step in a transaction of its own; the actions of the last one."""
    before = 0
    for work in works:
        before = len(world.bodies())
        with world.unit_of_work() as session:
            work(session)
    return world.actions()[before:]


def add(*objects: Any) -> Step:
    """A step that adds objects."""
    return lambda session: session.add_all(objects)


def links(world: World) -> list[dict[str, Any]]:
    """The changes of relationships, in order."""
    changes = [event["changes"] for event in world.events() if event["action"] == "post.update"]
    return [change for change in changes if "tags" in change or "friends" in change]


# ----------------------------------------------------------------------------------------- links


def test_a_new_post_with_tags_is_created_and_then_linked(world: World) -> None:
    """The parent's creation comes first, so that a replay finds it."""
    tags = [Tag(name="a"), Tag(name="b")]
    actions = steps(world, add(Post(title="p", tags=tags)))
    assert ["post.create", "post.update", "tag.create", "tag.create"] == sorted(actions)
    assert "post.update" == actions[-1]
    assert [{"tags": {"added": ["1", "2"]}}] == links(world)


def test_a_changed_collection_is_one_change_with_what_was_added_and_removed(world: World) -> None:
    """The trail shows which tags were added and removed."""

    def retag(session: Session) -> None:
        post = session.get_one(Post, 1)
        post.tags = [post.tags[1], Tag(name="c")]

    steps(world, add(Post(title="p", tags=[Tag(name="a"), Tag(name="b")])), retag)
    assert [{"tags": {"added": ["3"], "removed": ["1"]}}] == links(world)[1:]


def test_link_from_the_other_side_is_recorded_on_the_same_parent(world: World) -> None:
    """A bidirectional relationship has one parent, from whichever side it is changed."""
    steps(world, add(Post(title="p"), Tag(name="a")), _tag_the_post)
    assert [{"tags": {"added": ["1"]}}] == links(world)
    assert "1" == world.last()["target"]["id"]


def _tag_the_post(session: Session) -> None:
    tag, post = session.get_one(Tag, 1), session.get_one(Post, 1)
    tag.posts.append(post)
    session.flush()


def test_a_link_to_its_own_kind(world: World) -> None:
    """A self-referential relationship over a table without a primary key."""

    def befriend(session: Session) -> None:
        first, second = session.get_one(Post, 1), session.get_one(Post, 2)
        first.friends.append(second)
        session.flush()

    def part(session: Session) -> None:
        post = session.get_one(Post, 1)
        post.friends.clear()
        session.flush()

    steps(world, add(Post(title="a"), Post(title="b")), befriend, part)
    assert [{"friends": {"added": ["2"]}}, {"friends": {"removed": ["2"]}}] == links(world)


@pytest.mark.parametrize("model", [Post, Tag])
def test_links_that_the_database_deletes_with_one_side(world: World, model: Any) -> None:
    """ON DELETE CASCADE: SQLite deletes links before what they refer to, PostgreSQL after it."""
    actions = steps(
        world,
        add(Post(title="p", tags=[Tag(name="a")])),
        lambda s: s.delete(s.get_one(model, 1)),
    )
    expected = ["post.update", f"{model.__tablename__}.delete"]
    is_sqlite = world.engine.dialect.name == "sqlite"
    assert (expected if is_sqlite else expected[::-1]) == actions
    assert {"tags": {"removed": ["1"]}} == links(world)[-1]


# -------------------------------------------------------------------------------------- cascades


def _tree(session: Session) -> None:
    session.add_all([Node(id=1), Node(id=7)])
    session.flush()
    session.add_all([Node(id=2, parent_id=1), Node(id=3, parent_id=1)])
    session.flush()
    session.add_all([Node(id=4, parent_id=2), Watcher(id=1, node_id=4), Watcher(id=2, node_id=7)])


@pytest.mark.parametrize(
    "fell",
    [
        lambda s: s.delete(s.get_one(Node, 1)),
        lambda s: s.execute(delete(Node).where(Node.id == 1)),
        lambda s: (s.get_one(Node, 2), s.delete(s.get_one(Node, 1))),
    ],
    ids=["object", "statement", "object with a branch loaded"],
)
def test_a_tree_goes_with_its_root(world: World, fell: Step) -> None:
    """ON DELETE CASCADE over levels, and SET NULL at its edge, each with its row."""
    actions = steps(world, _tree, fell)
    assert ["node.delete"] * 4 + ["watcher.update"] == sorted(actions)


@pytest.mark.parametrize(
    "remove",
    [
        lambda s: s.delete(s.get_one(Folder, 1)),
        lambda s: s.execute(delete(Folder)),
        lambda s: s.execute(delete(Shelf)),
    ],
    ids=["object", "statement", "statement in the middle"],
)
def test_cascade_through_unaudited_parents_is_recorded(world: World, remove: Step) -> None:
    """A chain of cascades begins in unaudited tables, and ends in an audited one."""

    def fill(session: Session) -> None:
        for row in (Folder(id=1), Shelf(id=1, folder_id=1), Paper(shelf_id=1), Paper(shelf_id=1)):
            session.add(row)
            session.flush()

    assert ["paper.delete", "paper.delete"] == steps(world, fill, remove)


def _rename_object(session: Session) -> None:
    session.get_one(Country, "de").code = "DE"


@pytest.mark.parametrize(
    "rename",
    [
        _rename_object,
        lambda s: s.execute(update(Country).where(Country.code == "de").values(code="DE")),
    ],
    ids=["object", "statement"],
)
def test_a_key_that_changes_takes_what_refers_to_it_along(world: World, rename: Step) -> None:
    """ON UPDATE CASCADE: the rows that follow say that they did."""

    def fill(session: Session) -> None:
        session.add_all([Country(code="de", name="Germany"), Country(code="fr", name="France")])
        session.flush()
        session.add_all([City(country="de"), City(country="de"), City(country="fr")])

    actions = steps(world, fill, rename)
    assert ["city.update", "city.update", "country.update"] == sorted(actions)


def test_failed_deletion_leaves_no_row(world: World) -> None:
    """A deletion that fails on a foreign key leaves nothing, its cascades included."""
    steps(world, _tree)
    before = world.actions()
    with world.request(), world.sessions() as session:
        session.execute(delete(Node).where(Node.id == 1))
        session.rollback()
    assert before == world.actions()


# ----------------------------------------------------------------------------------- inheritance


def test_joined_inheritance_is_one_object_in_two_tables(world: World) -> None:
    """One row for an object, with the columns of both tables, under the name of its class."""

    def change(session: Session) -> None:
        engineer = session.get_one(Engineer, 1)
        engineer.name, engineer.field = "new", "new"

    actions = steps(world, add(Engineer(name="e", field="f"), Worker(name="w")), change)
    assert ["engineer.update"] == actions
    assert {"name", "field"} == world.last()["changes"].keys()
    assert ["engineer.delete"] == steps(world, lambda s: s.delete(s.get_one(Worker, 1)))


def test_classes_in_one_table_have_columns_of_their_own(world: World) -> None:
    """A cat is not told with the columns of a dog."""
    actions = steps(
        world, add(Animal(name="a"), Dog(name="d", trick="sit"), Cat(name="c", lives=9))
    )
    assert ["animal.create", "cat.create", "dog.create"] == sorted(actions)
    columns = {e["action"]: e["changes"].keys() for e in world.events()}
    assert {"id", "kind", "name", "lives"} == columns["cat.create"]
    assert {"id", "kind", "name"} == columns["animal.create"]


# ----------------------------------------------------------------------- odd ways of the ORM


def test_two_rows_that_need_each_other(world: World) -> None:
    """`post_update` writes a second time, past the hooks of the mapper."""

    def found(session: Session) -> None:
        unit, member = Unit(), Member()
        session.add(unit)
        session.flush()
        member.unit_id = unit.id
        unit.head = member
        session.add(member)

    def dissolve(session: Session) -> None:
        session.get_one(Unit, 1).head = None

    assert ["member.create", "unit.create", "unit.update"] == sorted(steps(world, found))
    assert ["unit.update"] == steps(world, dissolve)
    assert {"head_id": {"old": 1, "new": None}} == world.last()["changes"]


def test_an_object_that_takes_the_row_of_a_deleted_one(world: World) -> None:
    """SQLAlchemy makes one UPDATE of a deletion and an insertion with the same key."""

    def replace(session: Session) -> None:
        session.delete(session.get_one(Seat, ("a", 1)))
        session.add(Seat(row="a", number=1, taken=True))

    assert ["seat.update"] == steps(world, add(Seat(row="a", number=1)), replace)
    assert {"taken": {"old": False, "new": True}} == world.last()["changes"]


def test_a_merged_object_has_the_old_values_of_the_table(world: World) -> None:
    """`merge` of an object that the session never loaded."""
    seat = Seat(row="a", number=1, taken=True)
    assert ["seat.update"] == steps(world, add(Seat(row="a", number=1)), lambda s: s.merge(seat))
    assert {"taken": {"old": False, "new": True}} == world.last()["changes"]


def test_attributes_with_other_names_than_their_columns(world: World) -> None:
    """The trail speaks of columns, also of one that is called `values`."""

    def change(session: Session) -> None:
        article = session.get_one(Article, 1)
        article.values, article.stock = "v", Article.stock + 1

    assert ["article.update"] == steps(world, add(Article(code="c", stock=4)), change)
    changes = world.last()["changes"]
    assert {"old": 4, "new": 5} == changes["in_stock"]
    assert {"old": None, "new": "v"} == changes["values"]


def test_made_and_deleted_in_one_transaction(world: World) -> None:
    """Both happened, so both are told."""

    def work(session: Session) -> None:
        person = Person(name="p")
        session.add(person)
        session.flush()
        person.age = 20
        session.flush()
        session.delete(person)

    assert ["person.create", "person.update", "person.delete"] == steps(world, work)


def test_a_statement_within_a_flush_keeps_its_place(world: World) -> None:
    """A hook of the application that executes statements while the session flushes."""

    def hook(_mapper: object, connection: Any, target: Thing) -> None:
        connection.execute(insert(Tag).values(name=str(target.text)))

    event.listen(Thing, "after_insert", hook)
    try:
        actions = steps(world, add(Thing(id=uuid.uuid4(), text="a")))
    finally:
        event.remove(Thing, "after_insert", hook)
    assert ["tag.create", "thing.create"] == sorted(actions)


def test_a_secret_cannot_be_a_key() -> None:
    """It would stand in the clear in every target id, so the model is refused when it is mapped."""

    class Own(DeclarativeBase):
        pass

    class Login(Own):
        __tablename__ = "login"
        __audit__ = True
        token: Mapped[str] = mapped_column(primary_key=True)

    with pytest.raises(AuditConfigError, match="token"):
        configure_mappers()
    Own.registry.dispose()
