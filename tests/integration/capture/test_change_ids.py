"""Every record of staged changes carries the id of the last of them."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Integer, MetaData, Table, Text, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from integration.capture.application import Application, make_application
from integration.capture.test_leftovers import outside, work


class Base(DeclarativeBase):
    """Models of these tests."""


labelled = Table(
    "labelled",
    Base.metadata,
    Column("animal_id", ForeignKey("animal.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", ForeignKey("label.id", ondelete="CASCADE"), primary_key=True),
)


class Label(Base):
    """One side of a link table."""

    __tablename__ = "label"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)


class Animal(Base):
    """The other side, and the base of a class with a table of its own."""

    __tablename__ = "animal"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str | None]
    labels: Mapped[list[Label]] = relationship(secondary=labelled)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    """An object of two rows."""

    __tablename__ = "dog"
    __audit__ = True
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    tricks: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


@pytest.fixture
def animals(engine: Engine) -> Application:
    """Animals and labels under a trail."""
    return make_application(engine, Base.metadata)


@pytest.fixture
def words(engine: Engine) -> Application:
    """A table of words under a trail."""
    metadata = MetaData()
    columns = (Column("id", Integer, primary_key=True), Column("s", Text))
    Table("word", metadata, *columns, info={"audit": True})
    return make_application(engine, metadata)


def change_ids(application: Application) -> list[tuple[str, int | None]]:
    """The action and the change id of each event, in the order of the trail."""
    return [(event["action"], event["change_id"]) for event in application.events()]


def test_records_of_one_transaction_have_growing_change_ids(words: Application) -> None:
    """The order is that of the changes, not that of the statements' objects."""
    with words.unit_of_work() as session:
        session.execute(text("INSERT INTO word VALUES (1, 'a'), (2, 'b')"))
        session.execute(text("UPDATE word SET s = 'c' WHERE id = 1"))
        session.execute(text("DELETE FROM word WHERE id = 2"))
    assert [
        ("word.create", 1),
        ("word.create", 2),
        ("word.update", 3),
        ("word.delete", 4),
    ] == change_ids(words)


def test_object_of_several_rows_has_the_change_id_of_the_last(animals: Application) -> None:
    """A joined subclass is created by an INSERT into each of its tables."""
    with animals.unit_of_work() as session:
        session.add(Dog(id=1, tricks=2))
    assert [("dog.create", 2)] == change_ids(animals)


def test_link_record_has_the_change_id_of_its_last_row(animals: Application) -> None:
    """Rows of one relationship of one parent make one record."""
    with animals.unit_of_work() as session:
        session.add(Animal(id=1, labels=[Label(id=1), Label(id=2), Label(id=3)]))
    told = {
        ",".join(event["changes"]["labels"]["added"]): event["change_id"]
        for event in animals.events()
        if "labels" in event["changes"]
    }
    assert {"1,2,3": 7} == told


def test_explicit_event_has_no_change_id(words: Application) -> None:
    """Nothing was staged for it; its place in the trail is its order."""
    with words.unit_of_work() as session:
        session.execute(insert(words.metadata.tables["word"]).values(id=1))
        words.trail.record(session, "word.exported")
    assert [("word.create", 1), ("word.exported", None)] == change_ids(words)


def test_undrained_change_keeps_its_change_id(words: Application) -> None:
    """The worker records the older change after the newer one, and its id says so."""
    with words.unit_of_work() as session:
        session.execute(text("INSERT INTO word VALUES (1, 'a')"))
    outside(words, "UPDATE word SET s = 'b'")
    with words.unit_of_work() as session:
        session.execute(text("UPDATE word SET s = 'c'"))
    work(words)
    ids = [event["change_id"] for event in words.events()]
    by = [event["actor"]["type"] for event in words.events()]
    assert (["user", "user", "database"], True) == (by, ids[0] < ids[2] < ids[1])


def test_counted_statement_has_the_change_id_of_its_last_row(words: Application) -> None:
    """Rows that are only counted are staged as well."""
    with words.unit_of_work() as session, words.trail.unaudited(reason="import"):
        session.execute(text("INSERT INTO word VALUES (1, 'a'), (2, 'b')"))
    assert [("word.statement", 2)] == change_ids(words)
