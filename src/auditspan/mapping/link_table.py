"""Link tables: many-to-many tables, whose rows are recorded as changes of one of the two sides.

A row of a link table is not an object by itself. Adding one adds the other side's key to a
relationship of the parent: `post.update` with `{"tags": {"added": ["7"]}}`. If both sides have a
relationship over the table, the parent is the class that is first in the order of `all_mappers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Select, Table, event, select
from sqlalchemy.orm import Mapper, RelationshipProperty

from auditspan.mapping.audited_table import audited_table
from auditspan.mapping.mappers import all_mappers
from auditspan.mapping.policy import audited_model


@dataclass(frozen=True, kw_only=True, eq=False)
class LinkTable:
    """Table whose rows belong to a relationship of an audited model.

    Attributes:
        type: the target type of the parent.
        name: the relationship.
        parent: the columns that hold the parent's key, in the order of that key.
        child: the columns that hold the other side's key.
    """

    table: Table
    type: str
    name: str
    parent: tuple[Column[Any], ...]
    child: tuple[Column[Any], ...]

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The columns that identify a row."""
        return (*self.parent, *self.child)

    @property
    def types(self) -> frozenset[str]:
        """The target type of the records of its rows."""
        return frozenset({self.type})

    def select(self) -> Select[Any]:
        """Return a SELECT of the keys of both sides."""
        return select(*self.key)


_links: WeakKeyDictionary[Table, LinkTable | None] = WeakKeyDictionary()


def link_table(table: Table) -> LinkTable | None:
    """Return the link table for the relationship that uses this table, or None.

    The rows of a table that is audited itself, such as that of an association object, are objects.
    """
    if table not in _links:
        _links[table] = None if audited_table(table) else next(_found(table), None)
    return _links[table]


@event.listens_for(Mapper, "after_mapper_constructed")
def _forget(_mapper: Mapper[Any], _class: type[object]) -> None:
    _links.clear()


def _found(table: Table) -> Any:  # noqa: ANN401 (an iterator)
    for mapper in all_mappers():
        for relationship in mapper.relationships if audited_model(mapper) else ():
            if relationship.secondary is table and not relationship.viewonly:
                yield _link(table, mapper, relationship)


def _link(table: Table, mapper: Mapper[Any], relationship: RelationshipProperty[Any]) -> LinkTable:
    model = audited_model(relationship.parent) or audited_model(mapper)
    assert model is not None  # noqa: S101 (checked by the caller)
    here: dict[Any, Any] = dict(relationship.synchronize_pairs)
    there: dict[Any, Any] = dict(relationship.secondary_synchronize_pairs or ())
    return LinkTable(
        table=table,
        type=model.type,
        name=relationship.key,
        parent=tuple(here[column] for column in mapper.primary_key if column in here),
        child=tuple(there.values()),
    )
