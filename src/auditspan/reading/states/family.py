"""Family of classes whose objects share one identity: an inheritance hierarchy, or one table.

An object of a hierarchy may change its class, and the trail records each change under the class of
that moment. So the events of an object are those of all classes of its family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, Dialect, MetaData, Table, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from auditspan.errors import AuditConfigError
from auditspan.format import Target
from auditspan.mapping import (
    LinkTable,
    all_mappers,
    audited_model,
    home_of,
    is_on_join,
    link_table,
    model_of,
)
from auditspan.reading.replay import ObjectType, core_type, mapped_type, object_types
from auditspan.reading.states.values import Value, key_values


@dataclass(frozen=True, kw_only=True)
class Family:
    """Object types with a common primary key.

    Attributes:
        name: the name under which a replay keeps all objects of the family.
        types: the types by their own names, each with the name of the family.
        mappers: the mappers of the types; none for a table without a model.
        wanted: the names of the types that an object of the given model may have.
    """

    name: str
    types: Mapping[str, ObjectType]
    mappers: Mapping[str, Mapper[Any]]
    wanted: frozenset[str]

    @property
    def key(self) -> list[Column[Any]]:
        """The columns of the primary key, in the order of a target id."""
        first = self.types[self.name]
        columns: list[Any] = list(first.rows.selected_columns)
        return columns[: len(first.key_names)]

    def identity_of(self, target: Target, dialect: Dialect) -> tuple[Value, ...]:
        """Return the primary key of the object that a target names.

        Raises:
            AuditConfigError: the target names no object of this family.
        """
        try:
            return tuple(key_values(target.id or "", self.key, dialect))
        except (TypeError, ValueError) as error:
            raise AuditConfigError(
                f"invalid target id {target.id!r}: expected a primary key of {target.type}"
            ) from error

    def column_type(self, type_name: str, name: str) -> TypeEngine[Any] | None:
        """Return the type of a recorded column; None if the models no longer have it."""
        own = self.types.get(type_name)
        for type_ in (*([own] if own else []), *self.types.values()):
            for column in type_.columns:
                if column.name == name:
                    return column.column.type
        return None

    def relationships(self, type_name: str) -> Iterator[str]:
        """Yield the relationships of a class whose links are recorded."""
        mapper = self.mappers.get(type_name)
        for relationship in mapper.relationships if mapper else ():
            link = self.link(type_name, relationship.key)
            if link is not None:
                yield link.name

    def link(self, type_name: str, name: str) -> LinkTable | None:
        """Return the link table of a relationship of this class; None if it has none."""
        mapper = self.mappers.get(type_name)
        relationship = mapper.relationships.get(name) if mapper else None
        secondary = relationship.secondary if relationship is not None else None
        link = link_table(secondary) if isinstance(secondary, Table) else None
        return link if link and link.name == name and link.type in self.types else None

    def version(self, type_name: str) -> str | None:
        """Return the column with the version number of objects of this class."""
        mapper = self.mappers.get(type_name)
        column = mapper.version_id_col if mapper else None
        return column.name if isinstance(column, Column) else None


def family_of(model: object) -> Family:
    """Return the family of an audited model, or of an audited table without a model.

    Raises:
        AuditConfigError: it is not audited.
    """
    if isinstance(model, Table):
        return _of_table(model)
    name = model_of(model).type
    mapper: Any = inspect(model)
    return _of_mapper(mapper, name)


def families_of(metadata: MetaData) -> list[Family]:
    """Return the family of each audited type of this metadata, with that type alone wanted."""
    return [_family_of(type_, metadata) for type_ in object_types(metadata)]


def _family_of(type_: ObjectType, metadata: MetaData) -> Family:
    family = family_of_type(type_.name, metadata) or _of_table(metadata.tables[type_.table])
    return replace(family, wanted=frozenset({type_.name}))


def family_of_target(target: Target, metadata: MetaData) -> Family:
    """Return the family of the object that a target names, whichever of its classes it has.

    Raises:
        AuditConfigError: the models have no such type.
    """
    for family in families_of(metadata):
        if target.type in family.wanted:
            return replace(family, wanted=frozenset(family.types))
    raise AuditConfigError(f"no audited model or table has the target type {target.type!r}")


def family_of_type(type_name: str, metadata: MetaData) -> Family | None:
    """Return the family of the model with this target type, or None."""
    home = home_of(metadata)
    for mapper in all_mappers():
        model = None if is_on_join(mapper) else audited_model(mapper)
        if model is not None and model.type == type_name and mapper.registry.metadata is home:
            return _of_mapper(mapper, type_name)
    return None


def _of_table(table: Table) -> Family:
    type_ = core_type(table)
    if type_ is None:
        raise AuditConfigError(
            f"the table {table.name!r} is not audited: give it `info={{'audit': True}}`"
        )
    name = type_.name
    return Family(name=name, types={name: type_}, mappers={}, wanted=frozenset({name}))


def _of_mapper(mapper: Mapper[Any], name: str) -> Family:
    mapper.registry.configure(cascade=True)
    root = _root(mapper)
    mappers = {}
    for member in root.self_and_descendants:
        model = audited_model(member)
        if model is not None and _root(member) is root:
            mappers[model.type] = member
    below = {model.type for m in mapper.self_and_descendants if (model := audited_model(m))}
    types = {own: replace(mapped_type(member), name=name) for own, member in mappers.items()}
    return Family(name=name, types=types, mappers=mappers, wanted=frozenset(below))


def _root(mapper: Mapper[Any]) -> Mapper[Any]:
    while mapper.inherits is not None and not mapper.concrete:
        mapper = mapper.inherits
    return mapper
