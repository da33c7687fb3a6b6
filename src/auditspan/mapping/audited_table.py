"""Audited tables: the policies of the models, for statements without models.

A table is audited because a model on it is, because its own `info={"audit": ...}` requests it, or
because it links an audited model to another one (`link_table`). With inheritance, one table holds
rows of several classes, distinguished by the discriminator, and one object may have a row in each
of several tables; the table of the base class then holds the object and the others its parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Column, MetaData, Table, event
from sqlalchemy.orm import Mapper

from auditspan.errors import AuditConfigError
from auditspan.mapping.audited_model import AuditedColumn, AuditedModel
from auditspan.mapping.mappers import all_mappers, is_on_join
from auditspan.mapping.policy import audited_model, decided_table
from auditspan.mapping.privacy import Privacy, privacy_of, set_privacy


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedKind:
    """Rows of one class in one table.

    Attributes:
        type: the target type.
        columns: the recorded columns, as columns of this table.
        version: the column with the version number of a row.
        is_part: the rows hold only a part of their objects, whose creation and deletion are
            recorded through the rows of another table.
        subject: the type of the subject of erasable values, and the column with its id; None if
            each row is its own subject.
    """

    type: str
    columns: tuple[AuditedColumn, ...]
    version: Column[Any] | None = None
    is_part: bool = False
    subject: tuple[str, Column[Any]] | None = None

    @cached_property
    def erasable(self) -> tuple[AuditedColumn, ...]:
        """The columns whose values can be erased."""
        return tuple(column for column in self.columns if column.erasable)

    @cached_property
    def ignored(self) -> frozenset[str]:
        """The names of the columns whose changes alone are not recorded."""
        return frozenset(column.name for column in self.columns if column.ignored)

    @cached_property
    def represented(self) -> tuple[AuditedColumn, ...]:
        """The columns with a readable form."""
        return tuple(column for column in self.columns if column.represent)


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedTable:
    """Audited table, with the recorded kinds of rows.

    Attributes:
        key: the primary key, with the columns in the order of a target id.
        discriminator: the column that determines the class of a row; it may be in the base table.
        kinds: the kinds by value of the discriminator; None for a class that is not audited.
        default: the kind of a row without a known discriminator.
        subclasses: without a discriminator, the tables of joined subclasses, the deepest first, and
            the kind of a row of this table whose object has a row in one of them.
        joined_base: the table of the base class if the objects have rows in several tables.
    """

    table: Table
    key: tuple[Column[Any], ...]
    discriminator: Column[Any] | None = None
    kinds: Mapping[Any, AuditedKind | None]
    default: AuditedKind | None
    subclasses: tuple[tuple[Table, AuditedKind | None], ...] = ()
    joined_base: Table | None = None

    @property
    def types(self) -> frozenset[str]:
        """The target types of the rows."""
        return frozenset(kind.type for kind in self._all_kinds)

    @cached_property
    def is_base(self) -> bool:
        """True if this table holds the discriminator of its objects."""
        return self.discriminator is not None and self.discriminator.table is self.table

    @property
    def is_erasable(self) -> bool:
        """True if the values of a column can be erased."""
        return any(kind.erasable for kind in self._all_kinds)

    @cached_property
    def _all_kinds(self) -> list[AuditedKind]:
        joined = (kind for _, kind in self.subclasses)
        found = {kind.type: kind for kind in (self.default, *self.kinds.values(), *joined) if kind}
        return list(found.values())

    @cached_property
    def columns(self) -> frozenset[Column[Any]]:
        """The columns that a record needs: the key, the recorded columns and the discriminator."""
        needed = {*self.key, self.discriminator}
        for kind in self._all_kinds:
            needed |= {kind.version, *(audited.column for audited in kind.columns)}
        return frozenset(column for column in needed if column is not None)


_tables: WeakKeyDictionary[Table, AuditedTable | None] = WeakKeyDictionary()


def audited_table(table: Table) -> AuditedTable | None:
    """Return the audited table; None if neither a model on it nor its `info` requests auditing.

    Raises:
        AuditConfigError: the table has no primary key to identify its rows, or is audited only
            through a class that is mapped on a join.
    """
    try:
        return _tables[table]
    except KeyError:
        found = _tables[table] = _read(table)
        return found


def _mappers_of(table: Table) -> list[Mapper[Any]]:
    """Return the mappers with rows in this table, in the order of `all_mappers`."""
    return [mapper for mapper in all_mappers() if table in mapper.tables]


@event.listens_for(Mapper, "after_mapper_constructed")
def _forget(_mapper: Mapper[Any], _class: type[object]) -> None:
    _tables.clear()  # a new subclass may add a kind to any table


def keep_private(metadata: MetaData, privacy: Privacy | None) -> None:
    """Add to the privacy of a metadata, for its present and later models; never loosen it.

    None adds nothing.

    Raises:
        AuditConfigError: it redacts the primary key of a model.
    """
    if privacy is None:
        return
    before = privacy_of(metadata)
    set_privacy(metadata, before | privacy)
    _tables.clear()
    try:
        for mapper in all_mappers():
            if mapper.registry.metadata is metadata and mapper.configured:
                audited_model(mapper)
    except AuditConfigError:
        set_privacy(metadata, before)
        raise


def _read(table: Table) -> AuditedTable | None:
    audited = [mapper for mapper in _mappers_of(table) if _is_audited(mapper.base_mapper)]
    mappers = [mapper for mapper in audited if not is_on_join(mapper)]
    if not any(audited_model(mapper) for mapper in mappers):
        core = _read_core(table)
        if core is None:
            _require_no_join(table, audited)
        return core
    base = mappers[0]
    kinds = {
        value: _kind(mapper, table)
        for value, mapper in base.polymorphic_map.items()
        if table in mapper.tables
    }
    discriminator = base.polymorphic_on
    return AuditedTable(
        table=table,
        key=_key(table, base),
        discriminator=discriminator if isinstance(discriminator, Column) else None,
        kinds=kinds,
        default=_kind(base, table),
        subclasses=() if isinstance(discriminator, Column) else tuple(_subclasses(base, table)),
        joined_base=_joined_base(mappers),
    )


def _joined_base(mappers: Iterable[Mapper[Any]]) -> Table | None:
    for mapper in mappers:
        base = mapper.base_mapper
        joined = any(len(one.tables) > 1 for one in base.self_and_descendants)
        if joined and isinstance(base.local_table, Table):
            return base.local_table
    return None


def _subclasses(base: Mapper[Any], table: Table) -> Iterator[tuple[Table, AuditedKind | None]]:
    for mapper in reversed(list(base.self_and_descendants)):
        own = mapper.local_table
        if isinstance(own, Table) and own is not table and table in mapper.tables:
            yield own, _kind(mapper, table)


def _require_no_join(table: Table, audited: list[Mapper[Any]]) -> None:
    """Refuse to skip a table that a class on a join requests to audit.

    Raises:
        AuditConfigError: an audited class is mapped on a join with this table.
    """
    for mapper in filter(is_on_join, audited):
        raise AuditConfigError(
            f"{mapper.class_.__name__} is audited and mapped on a join, whose rows are recorded "
            f"per table, but no audited class is mapped on the table {table.name!r} alone: set "
            "`__audit__` on a class for each table, or remove it from the class on the join"
        )


def _is_audited(base: Mapper[Any]) -> bool:
    """Check whether a class of this hierarchy is audited; unrelated classes do not count."""
    return any(audited_model(mapper) for mapper in base.self_and_descendants)


def _key(table: Table, mapper: Mapper[Any]) -> tuple[Column[Any], ...]:
    props = [mapper.get_property_by_column(column) for column in mapper.primary_key]
    return tuple(
        next(c for c in (*prop.columns, column) if c.table is table)
        if any(c.table is table for c in prop.columns)
        else list(table.primary_key)[position]
        for position, (prop, column) in enumerate(zip(props, mapper.primary_key, strict=True))
    )


def _kind(mapper: Mapper[Any], table: Table) -> AuditedKind | None:
    model = audited_model(mapper)
    if model is None:
        return None
    columns = tuple(_columns(mapper, table))
    version = mapper.version_id_col
    return AuditedKind(
        type=model.type,
        columns=columns,
        version=version if isinstance(version, Column) and version.table is table else None,
        is_part=table is not mapper.base_mapper.local_table and not mapper.concrete,
        subject=_subject(table, model, columns),
    )


def _subject(
    table: Table, model: AuditedModel, columns: Iterable[AuditedColumn]
) -> tuple[str, Column[Any]] | None:
    """Return the subject of the erasable values of a table.

    Raises:
        AuditConfigError: its column is in another table of the object.
    """
    if model.subject is None or not any(column.erasable for column in columns):
        return None
    type_, name = model.subject
    found = next((column for column in table.columns if column.name == name), None)
    if found is None:
        raise AuditConfigError(
            f"the policy of {model.type} names the subject column {name!r}, but the table "
            f"{table.name!r} with erasable columns does not have it: name a column of that table, "
            "such as its primary key"
        )
    return type_, found


def _columns(mapper: Mapper[Any], table: Table) -> Iterator[AuditedColumn]:
    model = audited_model(mapper)
    for audited in model.columns if model else ():
        for column in mapper.get_property(audited.key).columns:
            if isinstance(column, Column) and column.table is table:
                yield audited.of(column)


def _read_core(table: Table) -> AuditedTable | None:
    model = decided_table(table)
    if model is None:
        return None
    if not table.primary_key.columns:
        raise AuditConfigError(
            f"cannot audit the table {table.name!r}: it has no primary key to identify its rows; "
            "add one, or do not audit the table"
        )
    subject = _subject(table, model, model.columns)
    kind = AuditedKind(type=model.type, columns=model.columns, subject=subject)
    return AuditedTable(table=table, key=tuple(table.primary_key), kinds={}, default=kind)
