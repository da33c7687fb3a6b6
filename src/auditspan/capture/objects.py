"""Conversion of staged row changes to changes of objects.

An object that has a row in each of several tables (joined inheritance) becomes one change, at the
position of the first of its rows. An update of the discriminator ends the object of one class and
begins that of another, since they have different columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from auditspan.capture.classes import ObjectClasses, Standing
from auditspan.capture.erasable import of_changes
from auditspan.capture.parts import Part, PartReader
from auditspan.capture.row_change import RowChange
from auditspan.capture.staged_change import StagedChange
from auditspan.format import Changes, Json, Subject, Target
from auditspan.mapping import AuditedKind, readable

Found = list[tuple[Part, AuditedKind]]


class SingleRow(NamedTuple):
    """The staged change of an object that has only this row.

    Its images are read late, so that not all rows of a batch are in memory in each of their forms.
    """

    reader: PartReader
    staged: StagedChange

    def changes(self) -> Iterator[RowChange]:
        """Yield the changes to record: none if it is not audited or changes nothing relevant."""
        reader, part = self.reader, self.reader.read(self.staged)
        for one in part.split() if part.changes_class else (part,):
            image, verb = one.last, one.verb
            kind = reader.kind(image)
            if kind is None:
                continue
            changes = reader.changes(one, kind)
            if verb != "update" or not changes.keys() <= kind.ignored:
                version = reader.version(kind, image)
                target = Target(type=kind.type, id=reader.id(image), version=version)
                yield _change([(one, kind)], verb, target, changes, self.staged.id)


@dataclass(kw_only=True)
class ObjectChange:
    """Rows of one object that one operation has changed, in several tables."""

    parts: list[Part]
    classes: ObjectClasses

    def takes(self, part: Part) -> bool:
        """Return whether the part belongs to the same operation on the same object."""
        tables = {one.reader.audited.table for one in self.parts}
        first = self.parts[0].change.operation
        return part.reader.audited.table not in tables and part.change.operation == first

    def changes(self) -> Iterator[RowChange]:
        """Yield the changes to record: none if it is not audited or changes nothing relevant."""
        if any(part.reader.audited.is_base and part.changes_class for part in self.parts):
            for parts in zip(*(part.split() for part in self.parts), strict=True):
                yield from ObjectChange(parts=[*parts], classes=self.classes).changes()
            return
        standings = [(part, *self._standing(part)) for part in self.parts]
        found = [(part, kind) for part, kind, _ in standings if kind]
        if not found:
            return
        base = next((part for part, kind in found if not kind.is_part), None)
        verb = base.verb if base else "update"
        changes = _changes(found)
        ignored = frozenset[str]().union(*(kind.ignored for _, kind in found))
        if verb != "update" or not changes.keys() <= ignored:
            target = Target(type=_type(found), id=found[0][0].id, version=_version(found))
            yield _change(found, verb, target, changes, standings[-1][2])

    def _standing(self, part: Part) -> Standing:
        audited = part.reader.audited
        if part.change.operation == "UPDATE":  # else the other rows are created or deleted with it
            for table, kind in audited.subclasses:
                if self.classes.has_row(table, part):
                    return kind, part.change.id
        if audited.discriminator is None or audited.is_base:
            return part.reader.kind(part.last), part.change.id
        for other in self.parts:
            if other.reader.audited.table is audited.discriminator.table:
                kind = part.reader.kind_of(other.reader.discriminator(other.last))
                return kind, part.change.id
        return self.classes.find(part)


def _changes(found: Found) -> Changes:
    changes: Changes = {}
    whole = any(not kind.is_part for _, kind in found)
    for part, kind in found:
        own = part.reader.changes(part, kind)
        changes |= own if whole else _of_part(own, kind)
    return changes


def _of_part(own: Changes, kind: AuditedKind) -> Changes:
    """Return the changes, without the key, of a row added to or removed from an object."""
    keys = {column.name for column in kind.columns if column.column.primary_key}
    return {
        name: {"old": None, "new": None, **sides}
        for name, sides in own.items()
        if name not in keys and (len(sides) > 1 or any(v is not None for v in sides.values()))
    }


def _change(found: Found, verb: str, target: Target, changes: Changes, change_id: int) -> RowChange:
    readable = _readable(found, changes)
    change = RowChange(
        verb=verb, target=target, changes=changes, change_id=change_id, readable=readable
    )
    for _, kind in found:
        if kind.erasable:
            break
    else:
        return change
    subject = Subject(target.type, found[0][0].id)
    return change._replace(disclosures=of_changes(found, subject, changes, readable))


def _readable(found: Found, changes: Changes) -> dict[str, Json]:
    columns = [column for _, kind in found for column in kind.represented]
    return readable(columns, changes, found[0][0].reader.mac_key) if columns else {}


def _type(found: Found) -> str:
    """Return the class of the object: of several, the one created last and removed first."""
    last = 0 if found[0][0].new is None else -1
    return found[last][1].type


def _version(found: Found) -> int | None:
    versions = (part.reader.version(kind, part.last) for part, kind in found)
    return next((version for version in versions if version is not None), None)
