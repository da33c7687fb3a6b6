"""An update of the discriminator ends the object of one class and begins that of another."""

from __future__ import annotations

from hashlib import sha512
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, insert, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from auditspan import Exempt
from auditspan.seal.undrained import Undrained
from integration.capture.application import KEY, Application, make_application


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    __audit__: Any = True
    __mapper_args__: dict[str, Any] = {  # noqa: RUF012 (as SQLAlchemy has it)
        "polymorphic_on": "kind",
        "polymorphic_identity": "person",
    }
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]


class Boss(Person):
    __mapper_args__ = {"polymorphic_identity": "boss"}  # noqa: RUF012
    bonus: Mapped[int | None]


class Guest(Person):
    __audit__ = Exempt("guests are anonymous")
    __mapper_args__ = {"polymorphic_identity": "guest"}  # noqa: RUF012


class Driver(Person):
    __tablename__ = "driver"
    __mapper_args__ = {"polymorphic_identity": "driver"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    licence: Mapped[str | None]


class Animals(DeclarativeBase):
    """Classes of which none has a table of its own."""


class Animal(Animals):
    __tablename__ = "animal"
    __audit__ = True
    __mapper_args__: dict[str, Any] = {  # noqa: RUF012 (as SQLAlchemy has it)
        "polymorphic_on": "kind",
        "polymorphic_identity": "animal",
    }
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012
    licence: Mapped[int | None]


PERSON: Any = Person.__table__
DRIVER: Any = Driver.__table__
KIM = {"id": {"new": 1}, "kind": {"new": "person"}, "name": {"new": "kim"}}
PROMOTED = text("UPDATE person SET kind = 'boss', bonus = 5 WHERE id = 1")


@pytest.fixture
def application(engine: Engine) -> Application:
    """A person named kim, under a trail."""
    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Person(id=1, name="kim"))
    return application


@pytest.mark.parametrize(
    "statement",
    [
        PROMOTED,
        update(PERSON).values(kind="boss", bonus=5),
    ],
    ids=["text", "table"],
)
def test_row_is_deleted_as_one_class_and_created_as_another(
    application: Application, statement: Any
) -> None:
    """Each class is told with its own columns, and all of them."""
    with application.unit_of_work() as session:
        session.execute(statement)

    told = application.told()
    assert told[0] == ("person.create", "1", KIM)
    assert told[1] == (
        *("person.delete", "1"),
        {"id": {"old": 1}, "kind": {"old": "person"}, "name": {"old": "kim"}},
    )
    assert told[2] == (
        *("boss.create", "1"),
        {
            "bonus": {"new": 5},
            "id": {"new": 1},
            "kind": {"new": "boss"},
            "name": {"new": "kim"},
        },
    )
    application.check()


def test_large_values_that_do_not_change_are_recorded_with_the_new_class(
    application: Application,
) -> None:
    """An update of one class omits them; here they begin the record of another object."""
    name = "".join(sha512(bytes([number])).hexdigest() for number in range(40))
    with application.unit_of_work() as session:
        session.add(Person(id=2, name=name))
    with application.unit_of_work() as session:
        session.execute(text("UPDATE person SET kind = 'boss' WHERE id = 2"))

    *_, deleted, created = application.told()
    assert ("person.delete", name) == (deleted[0], deleted[2]["name"]["old"])
    assert ("boss.create", name) == (created[0], created[2]["name"]["new"])
    application.check()


def test_classes_of_one_table_need_no_other_table(engine: Engine) -> None:
    """Here each staged row is told by itself."""
    application = make_application(engine, Animals.metadata)
    with application.unit_of_work() as session:
        session.add(Animal(id=1))
    with application.unit_of_work() as session:
        session.execute(text("UPDATE animal SET kind = 'dog', licence = 5"))

    ends = [
        ("animal.delete", "1", {"id": {"old": 1}, "kind": {"old": "animal"}}),
        ("dog.create", "1", {"id": {"new": 1}, "kind": {"new": "dog"}, "licence": {"new": 5}}),
    ]
    assert ends == application.told()[1:]
    application.check()


def test_row_may_come_back_with_another_key(application: Application) -> None:
    """The end has the former key, the beginning the new one."""
    with application.unit_of_work() as session:
        session.execute(PROMOTED)
        session.execute(text("UPDATE person SET kind = 'person', bonus = NULL, id = 2"))

    ends = [(action, id_) for action, id_, _ in application.told()[3:]]
    assert [("boss.delete", "1"), ("person.create", "2")] == ends
    application.check()


def test_object_leaves_and_enters_the_trail_with_an_audited_class(
    application: Application,
) -> None:
    """A class without records neither ends nor begins."""
    with application.unit_of_work() as session:
        session.execute(text("UPDATE person SET kind = 'guest'"))
    with application.unit_of_work() as session:
        session.execute(text("UPDATE person SET kind = 'boss'"))

    actions = [action for action, _, _ in application.told()]
    assert ["person.create", "person.delete", "boss.create"] == actions
    application.check()


def test_class_of_two_tables_begins_with_the_row_of_the_base(application: Application) -> None:
    """The row of its own table comes after that, and goes before the class is changed again."""
    with application.unit_of_work() as session:
        session.execute(text("UPDATE person SET kind = 'driver'"))
        session.execute(insert(DRIVER), {"id": 1, "licence": "B"})
    with application.unit_of_work() as session:
        session.execute(text("UPDATE driver SET licence = 'C'"))
        session.execute(text("DELETE FROM driver"))
        session.execute(text("UPDATE person SET name = 'lee', kind = 'person'"))

    expected = ["driver.create", "driver.update", "driver.update", "driver.update"]
    expected = ["person.create", "person.delete", *expected, "driver.delete", "person.create"]
    assert expected == [action for action, _, _ in application.told()]
    application.check()


def test_change_by_another_program_is_recorded_alike(
    application: Application, engine: Engine
) -> None:
    """The worker records it."""
    bare = engine.raw_connection()
    bare.cursor().execute("UPDATE person SET kind = 'boss', bonus = 5")
    bare.commit()
    bare.close()
    Undrained(application.engine, application.trail.tables, mac_key=KEY).take()

    actions = [action for action, _, _ in application.told()]
    assert ["person.create", "person.delete", "boss.create"] == actions
    application.check()
