"""`reconcile`: comparison of the committed events with those in the collector's files.

Missing events can be sent again. Only those are sent, and the relay's cursor stays where it is:
moving it back would deliver everything after it a second time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from sys import intern
from typing import Any

from sqlalchemy import Connection, select

from auditspan.delivery import Sink, load_cursors, log_names, rows_of, send_all, trail_name
from auditspan.format import SealedRow
from auditspan.otlp import Damage, read_logs
from auditspan.storage import (
    AuditTables,
    StoredText,
    last_purge,
    lift_time_limits,
    purged_ids,
    quarantined,
)
from auditspan.telemetry import semconv
from auditspan.verify.announced import announced_ids

_CHUNK = 2000
_RESEND_BATCH = 200


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
    """
    lift_time_limits(connection)
    damage = Damage()
    announced = announced_ids(spans, damage)
    copies = _copies(files, damage)
    report = ReconcileReport(
        damaged_lines=damage.pieces, announced=len(announced) if spans else None
    )
    copies.own |= {*names, *log_names(connection, tables)}
    for event_id, body in _bodies(connection, tables):
        _account(report, copies, event_id, body)
        announced.discard(event_id)
    _account_purged(report, copies, announced, _purged(connection, tables))
    others = copies.others()
    report.others = dict(sorted(Counter(others.values()).items()))
    report.deleted = sorted(announced - others.keys())
    report.unknown = sorted(copies.digests.keys() - copies.known - others.keys())
    report.different = sorted(copies.different - others.keys())
    return report


@dataclass(kw_only=True)
class Resent:
    """The result of sending missing events again.

    Attributes:
        sent: ids of events that the sink has now acknowledged.
        waiting: the number of events that the relay has yet to send itself.
        refused: ids of events that the sink refuses, with the reasons.
    """

    sent: list[str] = field(default_factory=list)
    waiting: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def resend(
    connection: Connection,
    tables: AuditTables,
    sink: Sink,
    missing: Sequence[str],
    *,
    trail: str | None = None,
) -> Resent:
    """Send events of the table once more, in sequence order within every batch.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        sink: the sink that lacks the events.
        missing: their ids, as `reconcile` reports them.
        trail: the name of the trail.  [default: the name in its newest signed checkpoint]

    Raises:
        SinkUnavailableError: the sink is unavailable; events sent before that stay sent.
    """
    done = Resent()
    trail = trail or trail_name(connection, tables)
    sent_seq = load_cursors(connection, tables, sink.name).sent
    for start in range(0, len(missing), _RESEND_BATCH):
        ids = missing[start : start + _RESEND_BATCH]
        sealed = (row._replace(trail=trail) for row in rows_of(connection, tables, ids))
        rows = [row for row in sealed if row.seq <= sent_seq]
        refused = send_all(sink, rows) if rows else []
        done.refused |= {row.event_id: why for row, why in refused if isinstance(row, SealedRow)}
        done.sent += [row.event_id for row in rows if row.event_id not in done.refused]
        done.waiting += len(ids) - len(rows)
    return done


def taken_since(
    connection: Connection,
    tables: AuditTables,
    sink: Sink,
    report: ReconcileReport,
    resent: Resent,
) -> list[str]:
    """Return the events that the sink once refused and has taken since.

    They are in its files, or it acknowledged them when they were sent again. `take_back` records
    this, so that they count as delivered.
    """
    absent = {*report.missing, *report.different}.difference(resent.sent)
    refused = quarantined(connection, tables, sink.name)
    known = {
        row.event_id
        for start in range(0, len(refused), _CHUNK)
        for row in rows_of(connection, tables, refused[start : start + _CHUNK])
    }  # an event that is not in the table is not in the report
    known -= absent
    return [event_id for event_id in refused if event_id in known]


@dataclass(kw_only=True)
class _Copies:
    """The content of the files: a digest, a count and the name of a trail for every id.

    Attributes:
        names: the name of the trail, for ids whose copies all carry the same name.
        own: the names of this trail.
    """

    digests: dict[str, bytes] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    different: set[str] = field(default_factory=set)
    names: dict[str, str | None] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    def add(self, event_id: str, body: str, name: object) -> None:
        name = intern(name) if isinstance(name, str) else None
        if self.names.setdefault(event_id, name) != name:
            self.names[event_id] = None
        digest = _digest(body)
        if self.digests.setdefault(event_id, digest) != digest:
            self.different.add(event_id)
        self.counts[event_id] = self.counts.get(event_id, 0) + 1

    def others(self) -> dict[str, str]:
        """Return the events of other trails with their trails' names, once all rows are known."""
        return {
            event_id: name
            for event_id, name in self.names.items()
            if name and self.own and name not in self.own and event_id not in self.known
        }


def _copies(files: Iterable[Path], damage: Damage) -> _Copies:
    copies = _Copies()
    for path in files:
        for entry in read_logs(path, damage=damage):
            event_id = entry.attributes.get(semconv.RECORD_ID)
            if isinstance(event_id, str):
                copies.add(event_id, str(entry.body), entry.attributes.get(semconv.TRAIL_NAME))
    return copies


def _account(report: ReconcileReport, copies: _Copies, event_id: str, body: str) -> None:
    report.rows += 1
    digest = copies.digests.get(event_id)
    if digest is None:
        report.missing.append(event_id)
        return
    copies.known.add(event_id)
    report.found += 1
    report.duplicates += copies.counts[event_id] - 1
    if digest != _digest(body):
        copies.different.add(event_id)
    elif name := copies.names[event_id]:
        copies.own.add(name)


def _account_purged(
    report: ReconcileReport, copies: _Copies, announced: set[str], purged: Iterable[str]
) -> None:
    """Note the events whose rows were purged: the files may have them, or no longer."""
    for event_id in purged:
        if event_id in copies.digests:
            copies.known.add(event_id)
            if name := copies.names[event_id]:
                copies.own.add(name)
        report.purged += event_id in copies.digests or event_id in announced
        announced.discard(event_id)


def _purged(connection: Connection, tables: AuditTables) -> Iterator[str]:
    purge = last_purge(connection, tables)
    return purged_ids(connection, tables, purge) if purge else iter(())


def _digest(body: str) -> bytes:
    return hashlib.sha256(body.encode()).digest()


def _bodies(connection: Connection, tables: AuditTables) -> Iterator[tuple[str, str]]:
    event = tables.event.c
    statement = (
        select(StoredText(event.event_id).label("event_id"), StoredText(event.body).label("body"))
        .order_by(event.id)
        .execution_options(yield_per=_CHUNK)
    )
    for row in connection.execute(statement):
        yield row.event_id, row.body
