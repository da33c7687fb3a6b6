"""Reversal of changes of links: rows of link tables that are removed or inserted again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Executable,
    Result,
    and_,
    delete,
    insert,
    literal,
    select,
)
from sqlalchemy.orm import Mapper, Session

from auditspan.errors import RevertError
from auditspan.mapping import LinkTable
from auditspan.reading.states.family import Family
from auditspan.reading.states.values import Value, key_values

Changes = Mapping[str, Mapping[str, Any]]
"""The ids added to and removed from an object, by relationship."""


def link_changes(changes: Mapping[str, Mapping[str, Any]]) -> Changes:
    """Return the changes of links among the changes of an event."""
    return {name: one for name, one in changes.items() if one.keys() & {"added", "removed"}}


@dataclass(frozen=True, kw_only=True)
class LinkReversal:
    """Reversal of links of one object through a session.

    Attributes:
        type_name: the target type of the events.
        id: the target id of the object.
        force: skip links that have changed since, or whose other side no longer exists.
    """

    session: Session
    family: Family
    type_name: str
    id: str
    force: bool

    def revert(self, changes: Changes) -> None:
        """Remove the links that were added, and insert those that were removed."""
        for name, change in changes.items():
            link = self._link(name)
            for child in change.get("added", ()):
                self._remove(link, child)
            for child in change.get("removed", ()):
                self._insert(link, child)

    @property
    def _mapper(self) -> Mapper[Any]:
        return self.family.mappers[self.type_name]

    def _link(self, name: str) -> LinkTable:
        link = self.family.link(self.type_name, name)
        if link is None:
            raise RevertError(
                f"links of {self.type_name} {self.id!r} were not changed back, because the model "
                f"has no relationship {name} any more: change them by hand"
            )
        return link

    def _remove(self, link: LinkTable, child: str) -> None:
        if self._has(link, child):
            self._execute(delete(link.table).where(self._is(link, child)))
        else:
            self._conflict(link, f"{child!r} is no longer in {link.name}")

    def _insert(self, link: LinkTable, child: str) -> None:
        if self._has(link, child):
            self._conflict(link, f"{child!r} is in {link.name} again")
        elif self._other_side(link, child) is None:
            self._conflict(link, f"{child!r}, which was in {link.name}, does not exist")
        else:
            row = {column.key: value for column, value in self._values(link, child)}
            self._execute(insert(link.table).values(row))

    def _has(self, link: LinkTable, child: str) -> bool:
        found = select(literal(1)).select_from(link.table).where(self._is(link, child))
        return self._execute(found).first() is not None

    def _other_side(self, link: LinkTable, child: str) -> object | None:
        identity = tuple(key_values(child, link.child, self._dialect))
        return self.session.get(self._mapper.relationships[link.name].mapper.class_, identity)

    def _is(self, link: LinkTable, child: str) -> ColumnElement[bool]:
        return and_(*(column == value for column, value in self._values(link, child)))

    def _values(self, link: LinkTable, child: str) -> Iterator[tuple[Any, Value]]:
        sides: Sequence[tuple[Sequence[Any], str]] = ((link.parent, self.id), (link.child, child))
        for columns, id_ in sides:
            yield from zip(columns, key_values(id_, columns, self._dialect), strict=True)

    @property
    def _dialect(self) -> Dialect:
        return self.session.connection(bind_arguments={"mapper": self._mapper}).dialect

    def _execute(self, statement: Executable) -> Result[Any]:
        return self.session.execute(statement, bind_arguments={"mapper": self._mapper})

    def _conflict(self, link: LinkTable, reason: str) -> None:
        if not self.force:
            raise RevertError(
                f"{link.name} of {self.type_name} {self.id!r} was not changed back, because "
                f"{reason}: pass force=True to skip this link"
            )
