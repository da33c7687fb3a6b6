"""Assembler: staged changes of rows become changes of objects, each with its origin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from sqlalchemy import Connection, Dialect, MetaData, Table

from auditspan.capture.classes import ObjectClasses
from auditspan.capture.counted_rows import CountedRows
from auditspan.capture.link_runs import LinkRun
from auditspan.capture.objects import ObjectChange, SingleRow
from auditspan.capture.origin import Origin, is_same_context
from auditspan.capture.parts import Part, PartReader
from auditspan.capture.row_change import RowChange
from auditspan.capture.staged_change import StagedChange
from auditspan.errors import AuditWriteError
from auditspan.format import MacKey
from auditspan.mapping import (
    AuditedTable,
    LinkTable,
    all_mappers,
    audited_table,
    subject_of,
    table_named,
)

Attributed = tuple[Origin, RowChange]
"""A change with its origin."""

_KEPT_OBJECTS = 10_000
"""The number of joined-inheritance objects that may wait for further rows between batches."""

_Entry = SingleRow | ObjectChange | LinkRun | CountedRows


@dataclass(kw_only=True)
class Assembler:
    """Assembler of the changes of objects from the staged changes of one transaction.

    Attributes:
        origin_at: returns the origin of a position.
        is_together: whether rows with these origins may create or delete one object together.
        ahead: changes that are recorded later; read only as far as finding a class requires.
        trail: the table of events, in which the class of an object may be found.
    """

    connection: Connection
    metadata: MetaData
    mac_key: MacKey | None
    origin_at: Callable[[int], Origin]
    is_together: Callable[[Origin, Origin], bool] = is_same_context
    ahead: Iterator[list[StagedChange]] = field(default_factory=lambda: iter(()))
    trail: Table | None = None
    _entries: list[tuple[Origin, _Entry]] = field(default_factory=list)
    _subjects: dict[str, tuple[PartReader | LinkTable, Table | None]] = field(default_factory=dict)
    _counted: dict[tuple[int, str, str], tuple[Origin, CountedRows]] = field(default_factory=dict)
    _objects: dict[tuple[Table, str], tuple[Origin, ObjectChange]] = field(default_factory=dict)

    def assemble(self, batches: Iterable[list[StagedChange]]) -> Iterator[Iterator[Attributed]]:
        """Yield the changes of each batch, joined-inheritance objects once all their rows are read.

        Raises:
            AuditWriteError: the trail does not know the table of a staged change.
        """
        for batch in batches:
            for change in batch:
                self._take(change)
            if len(self._objects) >= _KEPT_OBJECTS:
                self._objects.clear()
            yield from self._closed()
        self._objects.clear()
        self._entries += self._counted.values()
        yield from self._closed()

    def look(self, batch: list[StagedChange]) -> bool:
        """Note the classes of joined-inheritance objects; return False if no model has such."""
        for change in batch:
            table = table_named(self.metadata, change.table)
            audited = None if table is None else audited_table(table)
            if audited is not None and audited.is_base:
                self._classes.add(self._reader(audited).read(change))
        return any(len(mapper.tables) > 1 for mapper in all_mappers())

    @cached_property
    def _classes(self) -> ObjectClasses:
        return ObjectClasses(
            connection=self.connection,
            trail=self.trail,
            read_on=lambda: any(map(self.look, self.ahead)),
        )

    def _reader(self, audited: AuditedTable) -> PartReader:
        return _reader(audited, self.connection.dialect, self.mac_key)

    def _take(self, change: StagedChange) -> None:
        origin = self.origin_at(change.position)
        if origin.is_counted:
            self._count(change, origin)
            return
        subject, base = self._known(change.table)
        if isinstance(subject, LinkTable):
            self._link(change, subject, origin)
        elif base is None:
            self._entries.append((origin, SingleRow(subject, change)))
        else:
            self._join(subject.read(change), base, origin)

    def _known(self, key: str) -> tuple[PartReader | LinkTable, Table | None]:
        found = self._subjects.get(key)
        if found is None:
            found = self._subjects[key] = self._subject(key)
        return found

    def _subject(self, key: str) -> tuple[PartReader | LinkTable, Table | None]:
        """Return how rows of a table are read, and the table of their objects' base class."""
        table = table_named(self.metadata, key)
        subject = None if table is None else subject_of(table)
        if isinstance(subject, AuditedTable):
            return self._reader(subject), subject.joined_base
        if subject is None:
            raise AuditWriteError(
                f"triggers stage changes of the table {key!r}, but the trail knows no audited "
                "table of this name: audit it again, or drop its triggers"
            )
        return subject, None

    def _join(self, part: Part, base: Table, origin: Origin) -> None:
        if part.reader.audited.is_base:
            self._classes.add(part)
        key = (base, part.old_id)
        known = self._objects.get(key)
        if known is not None and self._is_one(known[0], origin, part) and known[1].takes(part):
            known[1].parts.append(part)
            return
        self._objects[key] = found = (origin, ObjectChange(parts=[part], classes=self._classes))
        self._entries.append(found)

    def _is_one(self, origin: Origin, other: Origin, part: Part) -> bool:
        """Return whether a row belongs to this change: an object is created and deleted once."""
        made_or_deleted = part.change.operation != "UPDATE"
        return origin is other or (made_or_deleted and self.is_together(origin, other))

    def _link(self, change: StagedChange, link: LinkTable, origin: Origin) -> None:
        last = self._entries[-1] if self._entries else None
        run = last[1] if last is not None and last[0] is origin else None
        if not isinstance(run, LinkRun) or run.link is not link:
            run = LinkRun(link=link, dialect=self.connection.dialect)
            self._entries.append((origin, run))
        run.add(change)

    def _count(self, change: StagedChange, origin: Origin) -> None:
        key = (id(origin), change.table, change.operation)
        if key not in self._counted:
            self._counted[key] = (origin, self._counted_rows(change, origin))
        counted = self._counted[key][1]
        counted.rows += 1
        counted.change_id = change.id

    def _counted_rows(self, change: StagedChange, origin: Origin) -> CountedRows:
        """Return no rows yet; the models may no longer have a table that a migration writes to."""
        if not origin.is_migration:
            self._known(change.table)  # refuses an unknown table
        table = table_named(self.metadata, change.table)
        subject = None if table is None else subject_of(table)
        return CountedRows(
            table=change.table,
            types=sorted(subject.types) if subject else [],
            operation=change.operation.lower(),
            is_migration=origin.is_migration,
        )

    def _closed(self) -> Iterator[Iterator[Attributed]]:
        """Yield the changes of the entries that wait for no further rows, if there are any."""
        closed, self._entries = self._entries, []
        if self._objects:
            waiting = {id(found) for found in self._objects.values()}
            self._entries = [entry for entry in closed if id(entry) in waiting]
            closed = [entry for entry in closed if id(entry) not in waiting]
        if closed:
            yield ((origin, change) for origin, entry in closed for change in entry.changes())


@lru_cache(maxsize=512)
def _reader(audited: AuditedTable, dialect: Dialect, mac_key: MacKey | None) -> PartReader:
    return PartReader(audited=audited, dialect=dialect, mac_key=mac_key)
