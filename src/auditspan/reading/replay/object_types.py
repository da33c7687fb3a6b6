"""Object types of a trail and their tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Join, MetaData, Select, Table, exists, or_, select
from sqlalchemy.orm import Mapper

from auditspan.errors import AuditConfigError
from auditspan.mapping import (
    AuditedColumn,
    AuditedModel,
    LinkTable,
    all_mappers,
    audited_model,
    decided_table,
    is_on_join,
    link_table,
)


@dataclass(frozen=True, kw_only=True)
class ObjectType:
    """A type of object.

    Attributes:
        name: the name in the trail.
        table: the table of its rows; a joined subclass has columns in other tables too.
        columns: the recorded columns.
        key_names: the names of its primary key columns in `changes`.
        rows: selects its rows: the primary key, then `columns`.
        subject: the type of the subject of erasable values, and the column with its id; None if
            each object is its own subject.
    """

    name: str
    table: str
    columns: tuple[AuditedColumn, ...]
    key_names: tuple[str, ...]
    rows: Select[Any]
    subject: tuple[str, str] | None = None

    @cached_property
    def ignored(self) -> frozenset[str]:
        """Columns that may change without an event."""
        return frozenset(column.name for column in self.columns if column.ignored)

    @cached_property
    def redacted(self) -> frozenset[str]:
        """Columns whose values are never shown."""
        return frozenset(column.name for column in self.columns if column.redacted)

    @cached_property
    def zoned(self) -> frozenset[str]:
        """Columns that are timestamps with a time zone."""
        return frozenset(column.name for column in self.columns if is_zoned(column))


def object_types(metadata: MetaData, *, required: bool = True) -> list[ObjectType]:
    """Return every audited type of this metadata.

    Raises:
        AuditConfigError: no model is audited, so nothing could be compared, and types are required.
    """
    found = [*_mapped_types(metadata), *_core_types(metadata)]
    if not found and required:
        raise AuditConfigError(
            "no audited model is mapped on this metadata: import the modules that define the "
            "models first, and give them `__audit__`"
        )
    return found


def links(metadata: MetaData) -> dict[tuple[str, str], LinkTable]:
    """Return every link table of an audited model, by type and relationship."""
    found = (link_table(table) for table in metadata.tables.values())
    return {(link.type, link.name): link for link in found if link is not None}


def mappers(metadata: MetaData) -> list[Mapper[Any]]:
    """Return every mapper of tables of this metadata, sorted by class name."""
    found = [
        mapper
        for mapper in all_mappers()
        # An abstract concrete base is mapped to a union of tables and has no objects of its own.
        if isinstance(mapper.persist_selectable, Table | Join)
        and any(getattr(table, "metadata", None) is metadata for table in mapper.tables)
    ]
    for registry in {mapper.registry for mapper in found}:
        registry.configure(cascade=True)
    return sorted(found, key=lambda mapper: (mapper.class_.__module__, mapper.class_.__qualname__))


def is_zoned(column: AuditedColumn) -> bool:
    """Return whether a column is declared as a timestamp with time zone; SQLite keeps none."""
    return isinstance(column.column.type, DateTime) and column.column.type.timezone


def table_name(mapper: Mapper[Any]) -> str:
    """Return the name of the table of a mapper, with its schema."""
    table = mapper.local_table
    return table.fullname if isinstance(table, Table) else str(mapper.class_.__name__)


def mapped_type(mapper: Mapper[Any]) -> ObjectType:
    """Return the type of an audited mapper."""
    model = audited_model(mapper)
    assert model is not None  # noqa: S101 (checked by the caller)
    return ObjectType(
        name=model.type,
        table=table_name(mapper),
        columns=model.columns,
        key_names=tuple(mapper.get_property(key).columns[0].name for key in model.primary_key),
        rows=_rows(mapper, model),
        subject=model.subject,
    )


def core_type(table: Table) -> ObjectType | None:
    """Return the type of a table that is audited without a model; None if it is not."""
    model = decided_table(table)
    if model is None:
        return None
    return ObjectType(
        name=model.type,
        table=table.fullname,
        columns=model.columns,
        key_names=tuple(column.name for column in table.primary_key),
        rows=select(*table.primary_key, *(column.column for column in model.columns)),
        subject=model.subject,
    )


def _audited_mappers(metadata: MetaData) -> list[Mapper[Any]]:
    return [m for m in mappers(metadata) if not is_on_join(m) and audited_model(m) is not None]


def _mapped_types(metadata: MetaData) -> Iterator[ObjectType]:
    return map(mapped_type, _audited_mappers(metadata))


def _core_types(metadata: MetaData) -> Iterator[ObjectType]:
    mapped = {table for mapper in _audited_mappers(metadata) for table in mapper.tables}
    for table in metadata.sorted_tables:
        type_ = None if table in mapped else core_type(table)
        if type_ is not None:
            yield type_


def _rows(mapper: Mapper[Any], model: AuditedModel) -> Select[Any]:
    wanted = [*mapper.primary_key, *(column.column for column in model.columns)]
    rows = select(*wanted).select_from(mapper.persist_selectable)
    return rows.where(*_only_this_class(mapper))


def _only_this_class(mapper: Mapper[Any]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that exclude rows of subclasses, which have types of their own."""
    if _has_discriminator(mapper):
        yield _is_of_class(mapper)
        return
    for child in mapper.self_and_descendants:
        if child.inherits is mapper and not child.concrete and child.inherit_condition is not None:
            below = exists().where(child.inherit_condition).select_from(child.local_table)
            yield ~below.correlate(*mapper.tables)


def _has_discriminator(mapper: Mapper[Any]) -> bool:
    on = mapper.polymorphic_on
    if on is None or mapper.concrete:
        return False
    # The discriminator of a concrete base is a column of the union, and not of its table.
    return all(table in mapper.tables for table in select(on).get_final_froms())


def _is_of_class(mapper: Mapper[Any]) -> ColumnElement[bool]:
    on: ColumnElement[Any] = mapper.polymorphic_on  # type: ignore[assignment]
    is_own: ColumnElement[bool] = on == mapper.polymorphic_identity
    if mapper.inherits is not None:
        return is_own
    # A row of an unknown class belongs to the base, so that it is compared at all.
    return or_(is_own, on.is_(None), on.not_in(list(mapper.polymorphic_map)))
