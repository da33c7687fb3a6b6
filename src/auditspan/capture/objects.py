"""Staged changes of rows become changes of objects.

An object that has a row in each of several tables (joined inheritance) is told in one change, at
the place of the first of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, text

from auditspan.canonical import Json, represent
from auditspan.capture.audited import AuditedKind, AuditedTable, mappers_of
from auditspan.capture.image import Number
from auditspan.capture.parts import Part
from auditspan.capture.pictures import RowChange
from auditspan.diff import Changes
from auditspan.record import Target
from auditspan.schemas import dialect_of

_VERBS = {"INSERT": "create", "UPDATE": "update", "DELETE": "delete", "TRUNCATE": "delete"}

Found = list[tuple[Part, AuditedKind]]


@dataclass(kw_only=True)
class ObjectChange:
    """The rows of one object that one operation has changed."""

    parts: list[Part]

    def takes(self, part: Part) -> bool:
        """Whether the part belongs to the same operation on the same object."""
        tables = {one.reader.audited.table for one in self.parts}
        first = self.parts[0].change.operation
        return part.reader.audited.table not in tables and part.change.operation == first

    def change(self, connection: Connection) -> RowChange | None:
        """What is told of it; None where it is not audited or nothing that counts has changed."""
        found = [(part, kind) for part in self.parts if (kind := self._kind(part, connection))]
        if not found:
            return None
        base = next((part for part, kind in found if not kind.is_part), None)
        verb = _VERBS[base.change.operation] if base else "update"
        changes = _changes(found)
        ignored = {c.name for _, kind in found for c in kind.columns if c.ignored}
        if verb == "update" and not changes.keys() - ignored:
            return None
        target = Target(type=_type(found), id=found[0][0].id, version=_version(found))
        change_id = self.parts[-1].change.id
        return RowChange(verb=verb, target=target, changes=changes, change_id=change_id)

    def _kind(self, part: Part, connection: Connection) -> AuditedKind | None:
        audited = part.reader.audited
        base = None if audited.discriminator is None else audited.discriminator.table
        if base is None or base is audited.table:
            return part.reader.kind(part.last)
        for other in self.parts:
            if other.reader.audited.table is base:
                return part.reader.kind_of(other.reader.discriminator(other.last))
        return part.reader.kind_of(_read_discriminator(connection, part))


def joined_base(audited: AuditedTable) -> Table | None:
    """The table of the base class where its objects have rows in several tables."""
    for mapper in mappers_of(audited.table):
        base = mapper.base_mapper
        joined = any(len(one.tables) > 1 for one in base.self_and_descendants)
        if joined and isinstance(base.local_table, Table):
            return base.local_table
    return None


def _changes(found: Found) -> Changes:
    changes: Changes = {}
    whole = any(not kind.is_part for _, kind in found)
    for part, kind in found:
        told = part.reader.changes(part, kind)
        changes |= told if whole else _of_part(told, kind)
    return changes


def _of_part(told: Changes, kind: AuditedKind) -> Changes:
    """A row that is added to an object, or removed from one, changes values and no key."""
    keys = {column.name for column in kind.columns if column.column.primary_key}
    return {
        name: {"old": None, "new": None, **sides}
        for name, sides in told.items()
        if len(sides) > 1 or (name not in keys and any(v is not None for v in sides.values()))
    }


def _type(found: Found) -> str:
    """The class of the object: of several, that whose rows are made last and removed first."""
    last = 0 if found[0][0].new is None else -1
    return found[last][1].type


def _version(found: Found) -> int | None:
    versions = (part.reader.version(kind, part.last) for part, kind in found)
    return next((version for version in versions if version is not None), None)


def _read_discriminator(connection: Connection, part: Part) -> Json:
    """The discriminator of an object of which only another row has changed."""
    audited = part.reader.audited
    column = audited.discriminator
    if column is None:
        return None
    quote = dialect_of(connection).identifier_preparer
    keys = [quote.format_column(one).replace(":", r"\:") for one in column.table.primary_key]
    where = " AND ".join(f"{key} = :key_{place}" for place, key in enumerate(keys))
    table, name = quote.format_table(column.table), quote.format_column(column)
    statement = text(f"SELECT {name} FROM {table} WHERE {where}")  # noqa: S608 (quoted names)
    values = {
        f"key_{place}": _driver_value(part.last.values[one.name])
        for place, one in enumerate(audited.key)
    }
    return represent(connection.execute(statement, values).scalar())


def _driver_value(raw: object) -> object:
    """A value of an image as a parameter: the database compares it with what it has stored."""
    if isinstance(raw, Number):
        return int(raw) if raw.lstrip("-").isdecimal() else float(raw)
    return raw
