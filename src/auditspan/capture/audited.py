"""What is audited of a table: the decisions of its models, for statements that know no models.

A table is audited because a model on it is, because it says so itself (`info={"audit": ...}`), or
because it links an audited model to another one (`links`). With inheritance one table holds rows
of several classes, told apart by the discriminator, and one object may have a row in each of
several tables; the table of the base class then holds the object and the others its parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Select, Table, event, select
from sqlalchemy.orm import Mapper

from auditspan.auditedmodel import AuditedColumn
from auditspan.capture.mappers import all_mappers
from auditspan.capture.pictures import Pair, Picture, RowChange, pictured, shown
from auditspan.diff import Changes, created, deleted, updated
from auditspan.errors import AuditConfigError, UnauditedWriteError
from auditspan.mac import MacKey
from auditspan.policy import audited_model, decided_table
from auditspan.record import Target
from auditspan.values import target_id


@dataclass(frozen=True, kw_only=True)
class AuditedKind:
    """The rows of one class in one table.

    Attributes:
        type: the target type.
        columns: what is recorded, as columns of this table.
        version: the column that counts the versions of a row.
        is_part: the rows hold only a part of their objects, whose creation and deletion are told
            by the rows of another table.
    """

    type: str
    columns: tuple[AuditedColumn, ...]
    version: Column[Any] | None = None
    is_part: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedTable:
    """One table and what is recorded of its rows.

    Attributes:
        key: the primary key, in the order in which a target id names its columns.
        discriminator: the column that tells the class of a row; it may be the base table's.
        kinds: by value of the discriminator; None is a class that is not audited.
        default: the kind of a row without a known discriminator.
        is_ambiguous: its rows are of several classes, and no column tells which.
    """

    table: Table
    key: tuple[Column[Any], ...]
    discriminator: Column[Any] | None = None
    kinds: Mapping[Any, AuditedKind | None]
    default: AuditedKind | None
    is_ambiguous: bool = False

    @property
    def types(self) -> frozenset[str]:
        """The target types of its rows."""
        return frozenset(kind.type for kind in self._all_kinds)

    def select(self) -> Select[Any]:
        """A SELECT of what a picture needs, with the base table where only that tells a class.

        Raises:
            UnauditedWriteError: nothing tells the class.
        """
        if self.is_ambiguous:
            raise UnauditedWriteError(
                f"a statement on {self.table.name!r} was refused, because its rows belong to "
                "several classes and no column tells which: give the base class `polymorphic_on`, "
                "or change the objects through a session"
            )
        statement = select(*self.columns).select_from(self.table)
        if self.discriminator is None or self.discriminator.table is self.table:
            return statement
        base = self.discriminator.table
        on = [own == its for own, its in zip(self.key, base.primary_key, strict=True)]
        return statement.outerjoin_from(self.table, base, *on)

    def picture(self, row: Sequence[Any], mac_key: MacKey | None) -> Picture:
        """The picture of a row of `select()`."""
        values = dict(zip(self.columns, row, strict=True))
        kind = self.default
        if self.discriminator is not None:
            kind = self.kinds.get(values[self.discriminator], kind)
        key = target_id([values[column] for column in self.key])
        if kind is None:
            return Picture(None, key, None, {})
        pictures = {c.name: pictured(c, values[c.column], mac_key) for c in kind.columns}
        version = None if kind.version is None else values[kind.version]
        return Picture(kind.type, key, version if isinstance(version, int) else None, pictures)

    def changes(self, pairs: Iterable[Pair]) -> Iterator[RowChange]:
        """A create, an update or a delete of each row that is not as it was."""
        kinds = {kind.type: kind for kind in self._all_kinds}
        for old, new in pairs:
            last = new or old
            if last is not None and last.type is not None:
                change = _change(kinds[last.type], old, new, last)
                if change is not None:
                    yield change

    @cached_property
    def _all_kinds(self) -> list[AuditedKind]:
        found = {kind.type: kind for kind in (self.default, *self.kinds.values()) if kind}
        return list(found.values())

    @cached_property
    def columns(self) -> tuple[Column[Any], ...]:
        """What is needed of a row: its key, what is recorded, and what tells its class."""
        needed = dict.fromkeys(self.key)
        for kind in self._all_kinds:
            needed |= dict.fromkeys(audited.column for audited in kind.columns)
            needed |= {} if kind.version is None else {kind.version: None}
        return tuple(needed | ({} if self.discriminator is None else {self.discriminator: None}))


def _change(
    kind: AuditedKind, old: Picture | None, new: Picture | None, last: Picture
) -> RowChange | None:
    before, after = old.values if old else None, new.values if new else None
    verb = "update" if kind.is_part else "create" if not old else "update" if new else "delete"
    changes = _changes(kind, before, after)
    if verb == "update" and not _counts(kind, changes):
        return None
    visible = {
        name: {side: shown(value) for side, value in sides.items()}
        for name, sides in changes.items()
    }
    return RowChange(
        verb=verb, target=Target(type=kind.type, id=last.id, version=last.version), changes=visible
    )


def _changes(kind: AuditedKind, old: dict[str, Any] | None, new: dict[str, Any] | None) -> Changes:
    if kind.is_part and (old is None or new is None):
        key = {column.name for column in kind.columns if column.column.primary_key}
        absent = {name: None for name in {**(old or {}), **(new or {})} if name not in key}
        return updated(old or absent, {n: v for n, v in (new or absent).items() if n not in key})
    if old is None:
        return created(new or {})
    return deleted(old) if new is None else updated(old, new)


def _counts(kind: AuditedKind, changes: Changes) -> bool:
    """Whether more than ignored columns has changed."""
    ignored = {column.name for column in kind.columns if column.ignored}
    return bool(changes.keys() - ignored)


_tables: WeakKeyDictionary[Table, AuditedTable | None] = WeakKeyDictionary()


def audited_table(table: Table) -> AuditedTable | None:
    """What is audited of this table; None where no model on it and no word of its own says so.

    Raises:
        AuditConfigError: it has no primary key, by which a row could be named.
    """
    if table not in _tables:
        _tables[table] = _read(table)
    return _tables[table]


def mappers_of(table: Table) -> list[Mapper[Any]]:
    """The mappers with a row in this table, base classes first."""
    return [mapper for mapper in all_mappers() if table in mapper.tables]


@event.listens_for(Mapper, "after_mapper_constructed")
def _forget(_mapper: Mapper[Any], _class: type[object]) -> None:
    _tables.clear()  # a new subclass may add a kind to any table


def _read(table: Table) -> AuditedTable | None:
    mappers = [mapper for mapper in mappers_of(table) if _is_audited(mapper.base_mapper)]
    if not any(audited_model(mapper) for mapper in mappers):
        return _read_core(table)
    base = mappers[0]
    kinds = {
        value: _kind(mapper, table)
        for value, mapper in base.polymorphic_map.items()
        if table in mapper.tables
    }
    discriminator = base.polymorphic_on
    is_told = isinstance(discriminator, Column)
    return AuditedTable(
        table=table,
        key=_key(table, base),
        discriminator=discriminator if isinstance(discriminator, Column) else None,
        kinds=kinds,
        default=_kind(base, table),
        is_ambiguous=not is_told and len(mappers) > 1,
    )


def _is_audited(base: Mapper[Any]) -> bool:
    """Whether one of the classes below is: another class on the same table decides nothing."""
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
    )


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
            f"the table {table.name!r} is to be audited, but has no primary key, by which its rows "
            "could be named: give it one, or leave it out"
        )
    kind = AuditedKind(type=model.type, columns=model.columns)
    return AuditedTable(table=table, key=tuple(table.primary_key), kinds={}, default=kind)
