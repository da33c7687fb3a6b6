"""Attributes that are more, or other, than a column of their name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Column, Computed, Engine, Identity, Integer, String, Table, update
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    composite,
    mapped_column,
    sessionmaker,
    synonym,
)

from auditspan import AuditTrail, audit_context
from auditspan.testing import captured
from integration.library.world import KEY, KIM


class Own(DeclarativeBase):
    """An application with odd models."""


@dataclass
class Point:
    """Two columns as one value."""

    x: int
    y: int


class Odd(Own):
    """A composite, a synonym, a hybrid, a computed column, and a name that is taken."""

    __tablename__ = "odd"
    __audit__ = True

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    place: Mapped[Point] = composite(mapped_column("x"), mapped_column("y"))
    inner: Mapped[str] = mapped_column("innerName", String(20))
    outer = synonym("inner")
    metadata_: Mapped[str | None] = mapped_column("metadata", String(20))
    twice: Mapped[int] = mapped_column(Computed("x * 2", persisted=True))

    @hybrid_property
    def shout(self) -> str:
        """Set through a hybrid."""
        return self.inner.upper()

    @shout.inplace.setter
    def _shout(self, value: str) -> None:
        self.inner = value.lower()


class Prefixed(Own):
    """Every attribute has a prefix that its column lacks."""

    __table__ = Table(
        "prefixed",
        Own.metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(20)),
    )
    __audit__ = True
    __mapper_args__ = {"column_prefix": "_"}  # noqa: RUF012 - as SQLAlchemy has it


class Ship(Own):
    """The base of concrete inheritance: a table for each class."""

    __tablename__ = "ship"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))


class Ferry(Ship):
    """A table of its own, with all of its columns."""

    __tablename__ = "ferry"
    __mapper_args__ = {"concrete": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    cars: Mapped[int] = mapped_column(default=0)


@pytest.fixture
def own(engine: Engine) -> Iterator[tuple[sessionmaker[Session], AuditTrail]]:
    """The application on each of the databases."""
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Own.metadata, mac_key=KEY)
    tables: list[Any] = [model.__table__ for model in (Odd, Prefixed, Ship, Ferry)]
    Own.metadata.create_all(engine, tables=tables)
    with audit_context(actor=KIM):
        yield sessions, trail


def changes(own: Any, *works: Any) -> list[dict[str, Any]]:
    """Return the audit rows of each of these units of work, by columns."""
    sessions, trail = own
    with captured(trail, sessions) as events:
        for work in works:
            with sessions.begin() as session:
                work(session)
    return [{"action": event["action"], **event["changes"]} for event in events]


def test_changes_are_named_by_column_not_by_attribute(own: Any) -> None:
    """Whatever an attribute is called or made of, the trail speaks of columns."""

    def change(session: Session) -> None:
        odd = session.get_one(Odd, 1)
        odd.place = Point(5, 2)
        odd.shout = "LOUD"
        odd.metadata_ = "m"

    created, updated = changes(own, lambda s: s.add(Odd(place=Point(1, 2), outer="quiet")), change)
    assert {"new": 2} == created["twice"]
    assert {
        "action": "odd.update",
        "x": {"old": 1, "new": 5},
        "innerName": {"old": "quiet", "new": "loud"},
        "metadata": {"old": None, "new": "m"},
        "twice": {"old": 2, "new": 10},
    } == updated


def test_a_statement_tells_computed_columns_too(own: Any) -> None:
    """Values that the database computes belong to the change."""
    _, updated = changes(
        own,
        lambda s: s.add(Odd(place=Point(1, 2), inner="a")),
        lambda s: s.execute(update(Odd).values(x=3)),
    )
    assert {
        "action": "odd.update",
        "x": {"old": 1, "new": 3},
        "twice": {"old": 2, "new": 6},
    } == updated


def test_column_prefix_is_not_recorded(own: Any) -> None:
    """The attribute `_name` is the column `name`."""

    def change(session: Session) -> None:
        found: Any = session.get_one(Prefixed, 1)
        found._name = "b"  # noqa: SLF001 (that is its name)

    _, updated = changes(own, lambda s: s.add(Prefixed(_id=1, _name="a")), change)
    assert {"action": "prefixed.update", "name": {"old": "a", "new": "b"}} == updated


def test_concrete_inheritance_has_a_table_for_each_class(own: Any) -> None:
    """Each class is told under its own name, by objects and by statements."""
    found = changes(
        own,
        lambda s: s.add_all([Ship(name="s"), Ferry(name="f", cars=2)]),
        lambda s: s.execute(update(Ferry).values(cars=3)),
        lambda s: s.execute(update(Ship).values(name="t")),
    )
    assert ["ferry.create", "ferry.update", "ship.create", "ship.update"] == sorted(
        one["action"] for one in found
    )
