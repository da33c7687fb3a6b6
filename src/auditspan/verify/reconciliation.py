"""`reconcile`: comparison of the committed events with those in the collector's files.

The ids are kept in a temporary file, so memory does not grow with the trail.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from auditspan.delivery import log_names
from auditspan.storage import (
    AuditTables,
    StoredText,
    last_purge,
    lift_time_limits,
    purged_ids,
)
from auditspan.telemetry.otlp import Damage, read_logs
from auditspan.verify.announced import announced_ids
from auditspan.verify.backends import Delivered, delivered_of
from auditspan.verify.event_ids import EventIds

_CHUNK = 500
"""Rows that are read at once; kept small, because a body may have 64 KiB."""


@dataclass(kw_only=True)
class ReconcileReport:
    """The differences between the committed events and the collector's files.

    Attributes:
        rows: the number of committed events.
        found: the number of committed events that are in the files.
        missing: ids of the table that are not in the files.
        unknown: ids in the files that are not in the table.
        different: ids whose body differs from the table's, or between copies.
        duplicates: the number of copies beyond the first; delivery is at least once.
        announced: the number of events that span events name; None if no spans were given.
        deleted: ids of announced events that are not in the table. They were committed once.
        others: the number of events in the files that carry the name of another trail, by name.
        damaged_lines: the number of pieces of the files that could not be read.
        first_damage: the place of the first of them, and the reason.
        purged: the number of events in the files or on spans whose rows a purge removed.
    """

    rows: int = 0
    found: int = 0
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    duplicates: int = 0
    announced: int | None = None
    deleted: list[str] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    damaged_lines: int = 0
    first_damage: str | None = None
    purged: int = 0

    @property
    def ok(self) -> bool:
        """True if every row was found with its body, and nothing else was found or announced."""
        return not (self.missing or self.unknown or self.different or self.deleted)

    def to_dict(self) -> dict[str, Any]:
        """Return the fixed JSON form."""
        return {"ok": self.ok, **asdict(self)}


def reconcile(
    connection: Connection,
    tables: AuditTables,
    files: Iterable[Path],
    *,
    spans: Sequence[Path] = (),
    names: Collection[str] = (),
) -> ReconcileReport:
    """Compare the ids and bodies of the table with those in the collector's files, both ways.

    Args:
        connection: the connection to read from. It MUST NOT have read in this transaction: its
            snapshot would be older than the files, and events committed meanwhile would seem
            unknown or deleted.
        tables: the audit tables.
        files: files of the collector, or directories of them.
        spans: files of spans, whose span events announce committed rows. A row that was deleted
            before it was sealed is known only from them.
        names: names of this trail, besides those in its checkpoints and in records of its rows.
            Events that carry any other name belong to other trails; without any name, all events
            in the files count as this trail's.

    Raises:
        CollectorFilesError: the files cannot be read.
        AuditConfigError: there is no room for the temporary file of the ids.
    """
    lift_time_limits(connection)
    damage = Damage()
    with closing(EventIds()) as ids:
        ids.add_announced(announced_ids(spans, damage))
        ids.add_delivered(_delivered(files, damage))
        report = _compared(connection, tables, ids, names)
        report.announced = ids.count_announced() if spans else None
    report.damaged_lines = damage.pieces
    report.first_damage = str(damage.places[0]) if damage.places else None
    return report


def reconcile_records(
    connection: Connection,
    tables: AuditTables,
    records: Iterable[Delivered],
    *,
    names: Collection[str] = (),
) -> ReconcileReport:
    """Compare the ids and bodies of the table with records that any destination holds.

    Args:
        connection: the connection to read from, with the restriction of `reconcile`.
        tables: the audit tables.
        records: the records; they are read before the table.
        names: names of this trail, as for `reconcile`.
    """
    lift_time_limits(connection)
    with closing(EventIds()) as ids:
        ids.add_delivered(records)
        return _compared(connection, tables, ids, names)


def _compared(
    connection: Connection, tables: AuditTables, ids: EventIds, names: Collection[str]
) -> ReconcileReport:
    """Add the table to the ids, once all copies are known, and return the differences."""
    own = {*names, *log_names(connection, tables)}
    ids.add_stored(_bodies(connection, tables))
    if purge := last_purge(connection, tables):
        ids.add_purged(purged_ids(connection, tables, purge))
    ids.name_own(own)
    found, duplicates = ids.count_found()
    return ReconcileReport(
        rows=ids.count_stored(),
        found=found,
        duplicates=duplicates,
        missing=ids.missing(),
        unknown=ids.unknown(),
        different=ids.different(),
        deleted=ids.deleted(),
        others=ids.others(),
        purged=ids.count_purged(),
    )


def _delivered(files: Iterable[Path], damage: Damage) -> Iterator[Delivered]:
    for path in files:
        for entry in read_logs(path, damage=damage):
            if one := delivered_of(entry):
                yield one


def _bodies(connection: Connection, tables: AuditTables) -> Iterator[tuple[str, str]]:
    event = tables.event.c
    statement = (
        select(StoredText(event.event_id).label("event_id"), StoredText(event.body).label("body"))
        .order_by(event.id)
        .execution_options(yield_per=_CHUNK)
    )
    for row in connection.execute(statement):
        yield row.event_id, row.body
