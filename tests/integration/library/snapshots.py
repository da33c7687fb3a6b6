"""Random histories of objects with inheritance, links and changing keys, and snapshots of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st
from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from auditspan import AuditTrail
from auditspan.reading.states import When
from integration.library.models import Team
from integration.library.shapes import (
    Animal,
    Article,
    Cat,
    Country,
    Dog,
    Engineer,
    Node,
    Post,
    Tag,
    Worker,
)
from integration.library.test_sequences import ENDINGS, STEPS, Program

MODELS: tuple[Any, ...] = (Team, Article, Node, Post, Tag, Worker, Animal, Country)
UNTOLD = frozenset({"iban"})
"""Columns whose values the trail does not have."""


class Snapshot(NamedTuple):
    """An object as SQLAlchemy loads it."""

    type: str
    values: Mapping[str, Any]
    links: Mapping[str, tuple[str, ...]]


Snapshots = dict[tuple[Any, Any], Snapshot]


class Histories(Program):
    """More steps: classes with several tables, classes in one table, and keys that change."""

    def hire(self, n: int) -> None:
        self.session.add(Engineer(name=self.name(), field="tunnels") if n % 3 else Worker(name="w"))

    def train(self, n: int) -> None:
        found = self.pick(Worker, n)
        if isinstance(found, Engineer):
            found.field = self.name()
        if found and n % 2:
            found.name = self.name()

    def dismiss(self, n: int) -> None:
        found = self.pick(Worker, n)
        if found:
            self.session.delete(found)

    def adopt(self, n: int) -> None:
        self.session.add(Dog(name=self.name(), trick="sit") if n % 2 else Cat(name="c", lives=n))

    def teach(self, n: int) -> None:
        found = self.pick(Animal, n)
        if isinstance(found, Dog):
            found.trick = self.name()

    def found(self, n: int) -> None:
        if self.session.get(Country, f"k{n}") is None:
            self.session.add(Country(code=f"k{n}", name=self.name()))

    def rename_country(self, n: int) -> None:
        country, code = self.pick(Country, n), f"k{(n * 7) % 12}"
        if country and self.session.get(Country, code) is None:
            country.code = code

    def befriend(self, n: int) -> None:
        one, other = self.pick(Post, n), self.pick(Post, n + 1)
        if one and other and other not in one.friends:
            one.friends.append(other)


OWN = sorted(name for name in vars(Histories) if name[0] != "_")
PROGRAM = st.lists(
    st.tuples(st.sampled_from([*STEPS, *OWN, *OWN]), st.integers(0, 11)), min_size=3, max_size=14
)
HISTORIES = st.lists(st.tuples(PROGRAM, ENDINGS), min_size=10, max_size=10)
"""Ten programs; a snapshot follows each."""


def take(session: Session) -> Snapshots:
    """All objects as they are in the database."""
    return {
        (model, _key(found)): _snapshot(found)
        for model in MODELS
        for found in session.scalars(select(model))
    }


def recorded(trail: AuditTrail, session: Session, keys: Iterator[Any], when: When) -> Snapshots:
    """The same objects, as the trail says that they were."""
    found = {}
    for model, key in keys:
        state = trail.as_of(session, model, key, when)
        if state is not None:
            assert state.is_complete
            values = {name: v for name, v in state.values.items() if name not in UNTOLD}
            found[model, key] = Snapshot(state.type, values, state.links)
    return found


def _key(found: Any) -> Any:
    identity = inspect(found).identity
    return identity[0] if len(identity) == 1 else identity


def _snapshot(found: Any) -> Snapshot:
    mapper = inspect(found).mapper
    values = {
        column.name: getattr(found, prop.key)
        for prop in mapper.column_attrs
        for column in prop.columns
        if column.name not in UNTOLD
    }
    links = {
        relationship.key: tuple(sorted(str(_key(one)) for one in getattr(found, relationship.key)))
        for relationship in mapper.relationships
        if relationship.secondary is not None and relationship.key in {"tags", "friends"}
    }
    return Snapshot(type(found).__name__.lower(), values, links)
