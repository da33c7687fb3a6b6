"""Rows that are older than the trail: objects and links without a history, read in batches.

A row that has changed meanwhile is read with its newest committed values, and cannot change until
the batch is committed: on PostgreSQL it is locked, on SQLite there is one writer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    func,
    literal,
    select,
    true,
    tuple_,
)

from auditspan.capture import disclose
from auditspan.errors import AuditBodyError
from auditspan.format import Changes, Disclosure, Json, MacKey, Subject, Target, read_event
from auditspan.mapping import LinkTable, concealed, target_id
from auditspan.reading.replay import ObjectType, as_images, stored_forms
from auditspan.reading.states.family import Family
from auditspan.storage import StoredText

_TOGETHER = 500
"""Target ids in one query, and links in one record."""


class OldRow(NamedTuple):
    """Event of a baseline: the columns of one object, or some of its links."""

    target: Target
    changes: Changes
    disclosures: Sequence[Disclosure] = ()


class Batch(NamedTuple):
    """Rows that were read together.

    Attributes:
        read: their number.
        last: the key of the last row, from which the next batch begins; None if there is no more.
        old: those without a history.
    """

    read: int
    last: tuple[Any, ...] | None
    old: list[OldRow]


class Rows(Protocol):
    """Rows of one kind, in the order of their keys."""

    @property
    def statement(self) -> Select[Any]:
        """The SELECT of all rows."""

    def read(self, connection: Connection, after: tuple[Any, ...] | None, size: int) -> Batch:
        """Read and lock the rows after a key, at most `size`."""


@dataclass(frozen=True, kw_only=True)
class ObjectRows:
    """Rows of the objects of one type.

    Attributes:
        event: the table of events.
        type_name: the target type.
        mac_key: the key of the fingerprints of redacted values.
        counts: the condition of the events that count as history.
    """

    event: Table
    family: Family
    type_name: str
    mac_key: MacKey | None
    counts: ColumnElement[bool] = field(default_factory=true)

    @property
    def statement(self) -> Select[Any]:
        """The SELECT of all rows: their key, and the recorded columns."""
        return self._type.rows

    def read(self, connection: Connection, after: tuple[Any, ...] | None, size: int) -> Batch:
        """Read and lock the rows after a key, at most `size`."""
        width = len(self._type.key_names)
        key: list[Any] = [*self.statement.selected_columns][:width]
        page = _page(self.statement, key, after, size)
        forms = stored_forms(page, connection.dialect)
        images = as_images(page).add_columns(*key)
        rows = connection.execute(images).all()
        stored = {target_id((v := forms(row[:-width]))[:width]): v[width:] for row in rows}
        version = self.family.version(self.type_name)
        known = self._known(connection, stored)
        old = [self._old(id_, v, version) for id_, v in stored.items() if id_ not in known]
        last = tuple(rows[-1][-width:]) if len(rows) == size else None
        return Batch(read=len(rows), last=last, old=old)

    @property
    def _type(self) -> ObjectType:
        return self.family.types[self.type_name]

    def _old(self, id_: str, values: Sequence[Json], version: str | None) -> OldRow:
        named = [*zip(self._type.columns, values, strict=True)]
        number = next((value for column, value in named if column.name == version), None)
        number = number if isinstance(number, int) else None
        shown = {column.name: concealed(column, v, self.mac_key) for column, v in named}
        subject = self._subject(id_, {column.name: value for column, value in named})
        return OldRow(
            Target(type=self.type_name, id=id_, version=number),
            {name: {"new": value} for name, value in shown.items()},
            [
                disclose(("changes", column.name, "new"), subject, shown[column.name])
                for column, _ in named
                if column.erasable and shown[column.name] is not None
            ],
        )

    def _subject(self, id_: str, values: Mapping[str, Json]) -> Subject:
        """Return the subject of the erasable values of a row."""
        type_, name = self._type.subject or (self.type_name, None)
        named = None if name is None else values[name]
        return Subject(self.type_name, id_) if named is None else Subject(type_, target_id([named]))

    def _known(self, connection: Connection, ids: Collection[str]) -> set[str]:
        """Return the objects whose creation, deletion or state the trail has."""
        event, types = self.event.c, self.family.types
        verbs = ("create", "delete", "baseline")
        actions = [f"{type_name}.{verb}" for type_name in types for verb in verbs]
        # An expression, so that no index of actions is used: it has the whole baseline.
        action = event.action.concat("")
        found: set[str] = set()
        for some in _chunks(ids):
            known = select(event.target_id).where(
                event.target_type.in_(types),
                event.target_id.in_(some),
                action.in_(actions),
                self.counts,
            )
            found |= {*connection.scalars(known)}
        return found


@dataclass(frozen=True, kw_only=True)
class LinkRows:
    """Rows of one link table; the attributes are those of `ObjectRows`."""

    event: Table
    link: LinkTable
    counts: ColumnElement[bool] = field(default_factory=true)

    @property
    def statement(self) -> Select[Any]:
        """The SELECT of all rows: the keys of both sides."""
        return self.link.select().where(and_(*(c.is_not(None) for c in self.link.key)))

    def read(self, connection: Connection, after: tuple[Any, ...] | None, size: int) -> Batch:
        """Read and lock the rows after a key, at most `size`."""
        key: list[Any] = [*self.link.key]
        page = _page(self.statement, key, after, size)
        rows = connection.execute(as_images(page).add_columns(*key)).all()
        forms = stored_forms(page, connection.dialect)
        links = [self._ids(forms(row[: len(key)])) for row in rows]
        known = self._known(connection, {parent for parent, _ in links})
        old = list(self._old(link for link in links if link not in known))
        last = tuple(rows[-1][len(key) :]) if len(rows) == size else None
        return Batch(read=len(rows), last=last, old=old)

    def _ids(self, values: Sequence[Json]) -> tuple[str, str]:
        width = len(self.link.parent)
        return target_id(values[:width]), target_id(values[width:])

    def _old(self, links: Iterable[tuple[str, str]]) -> Iterator[OldRow]:
        for parent, pairs in groupby(dict.fromkeys(links), key=lambda link: link[0]):
            for some in _chunks([child for _, child in pairs]):
                added: list[Json] = [*sorted(some)]
                target = Target(type=self.link.type, id=parent)
                yield OldRow(target, {self.link.name: {"added": added}})

    def _known(self, connection: Connection, parents: Collection[str]) -> set[tuple[str, str]]:
        """Return the links of these objects that the trail names."""
        event = self.event.c
        found = set()
        for some in _chunks(parents):
            bodies = select(event.target_id, StoredText(event.body)).where(
                event.target_type == self.link.type, event.target_id.in_(some), self.counts
            )
            for parent, body in connection.execute(bodies):
                found |= {(parent, child) for child in self._named(body)}
        return found

    def _named(self, body: str) -> Iterator[str]:
        try:
            change = read_event(body)["changes"].get(self.link.name, {})
        except AuditBodyError:  # `verify` reports it
            return
        for side in ("added", "removed"):
            yield from change.get(side, ())


def count(connection: Connection, rows: Rows) -> int:
    """Return the number of rows."""
    counted = select(func.count()).select_from(rows.statement.order_by(None).subquery())
    return connection.execute(counted).scalar_one()


def _page(
    statement: Select[Any], key: Sequence[Column[Any]], after: tuple[Any, ...] | None, size: int
) -> Select[Any]:
    if after is not None:
        values = [literal(value, column.type) for value, column in zip(after, key, strict=True)]
        beyond = tuple_(*key) > tuple_(*values) if len(key) > 1 else key[0] > values[0]
        statement = statement.where(beyond)
    return statement.order_by(*key).limit(size).with_for_update(read=True)


def _chunks(ids: Collection[str]) -> Iterator[list[str]]:
    every = [*ids]
    return (every[start : start + _TOGETHER] for start in range(0, len(every), _TOGETHER))
