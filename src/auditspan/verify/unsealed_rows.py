"""Check of the rows that have no leaf yet.

Such a row is checked like a sealed one, except for its leaf. It may wait only as long as the sealer
can still find it: a row that is older than the last checkpoint was not inserted by the
application, or its leaf was removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, exists, func, select

from auditspan.format import COLUMNS, SealedLeaf, Values
from auditspan.storage import AuditTables, IsCounted, StoredNumber, StoredText, plain_text
from auditspan.storage.dialects import PerDialect
from auditspan.verify.finding import Finding, Kind, about_size
from auditspan.verify.row_check import RowCheck

_CHUNK = 100
_SNAPSHOT = re.compile(r"([0-9]+):([0-9]+):((?:[0-9]+(?:,[0-9]+)*)?)")


class _WaitingRow(NamedTuple):
    """A row without a leaf, as text; `is_copy` if a sealed row has the same event id."""

    row_id: int
    event_id: str
    body: str
    mac: str | None
    mac_key_id: str | None
    xact_id: str | None
    is_copy: bool
    columns: Values


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """The boundary before which every row is sealed.

    Attributes:
        newest: on SQLite, the newest sealed id; else -1.
        before: transactions with a smaller id are sealed; 0 if that is unknown.
        running: transactions with a smaller id that ran while the last checkpoint was made.
    """

    newest: int = -1
    before: int = 0
    running: frozenset[int] = frozenset()

    def covers(self, row_id: int, xact_id: str | None) -> bool:
        """Return whether a row must have been sealed."""
        if not self.before:
            return row_id <= self.newest
        number = int(xact_id) if xact_id else 0
        return number < self.before and number not in self.running


class Unsealed(NamedTuple):
    """The number of rows without a leaf, and the findings about them."""

    rows: int
    findings: list[Finding]


def check_unsealed(connection: Connection, tables: AuditTables, rows: RowCheck) -> Unsealed:
    """Check every row that has no leaf."""
    horizon, findings = _HORIZON.of(connection)(connection, tables)
    count = 0
    for count, row in enumerate(_waiting(connection, tables), start=1):  # noqa: B007 (the last one)
        for kind, detail in _wrong(row, rows, horizon):
            findings.append(
                Finding(
                    kind=kind, seq=None, row_id=row.row_id, event_id=row.event_id, detail=detail
                )
            )
    return Unsealed(count, findings)


def _wrong(row: _WaitingRow, rows: RowCheck, horizon: Horizon) -> Iterator[tuple[Kind, str]]:
    leaf = SealedLeaf(
        seq=-1,
        row_id=row.row_id,
        event_id=row.event_id,
        leaf_hash=b"",
        recorded_at=None,
        body=row.body,
        mac=row.mac,
        mac_key_id=row.mac_key_id,
        columns=row.columns,
    )
    for kind, detail in rows.check_row(leaf, row.body):
        yield kind, f"unsealed row {row.row_id}: {detail}"
    if horizon.covers(row.row_id, row.xact_id):
        yield "unsealed", f"row {row.row_id} is older than the last checkpoint but has no leaf"
    if row.is_copy:
        yield "duplicate", f"unsealed row {row.row_id} has the event id of a sealed row"


def _waiting(connection: Connection, tables: AuditTables) -> Iterator[_WaitingRow]:
    event, leaf = tables.event, tables.leaf
    other, sealed = leaf.alias("other"), event.alias("sealed")
    copied = exists().where(other.c.event_id == event.c.event_id, other.c.row_id == sealed.c.id)
    statement = (
        select(
            StoredNumber(event.c.id),
            *(StoredText(event.c[name]) for name in ("event_id", "body", "mac", "mac_key_id")),
            StoredText(event.c.xact_id),
            copied.correlate(event),
            *(plain_text(event.c[name]) for name in COLUMNS),
        )
        .select_from(event.outerjoin(leaf, leaf.c.row_id == event.c.id))
        .where(leaf.c.seq.is_(None))
        .order_by(event.c.id)
        .execution_options(yield_per=_CHUNK)
    )
    first = len(_WaitingRow._fields) - 1
    with connection.execute(statement) as result:
        for row in result:
            plain = tuple(row)
            yield _WaitingRow._make((*plain[:first], plain[first:]))


def _snapshot_horizon(connection: Connection, tables: AuditTables) -> tuple[Horizon, list[Finding]]:
    """Return the horizon of the last checkpoint, and findings about it."""
    point = tables.checkpoint.c
    columns = select(point.tree_size, point.snapshot).order_by(point.tree_size.desc())
    last = connection.execute(columns.limit(1)).one_or_none()
    if last is None or last.snapshot is None:
        return Horizon(), []
    read = _SNAPSHOT.fullmatch(last.snapshot)
    if read is None or int(read[1]) > int(read[2]):
        detail = "invalid snapshot in the last checkpoint"
        return Horizon(), [about_size("checkpoint", last.tree_size, detail)]
    now = connection.execute(select(func.pg_snapshot_xmax(func.pg_current_snapshot())))
    if int(read[2]) > int(now.scalar_one()):
        return Horizon(), []  # restored into another cluster: the sealer starts over
    running = frozenset(map(int, read[3].split(","))) if read[3] else frozenset()
    return Horizon(before=int(read[2]), running=running), []


def _newest_horizon(connection: Connection, tables: AuditTables) -> tuple[Horizon, list[Finding]]:
    """Return the newest sealed id, where ids commit in order."""
    row_id = tables.leaf.c.row_id
    newest = connection.execute(select(func.max(row_id)).where(IsCounted(row_id))).scalar_one()
    return Horizon(newest=-1 if newest is None else newest), []


_HORIZON = PerDialect[Callable[[Connection, AuditTables], tuple[Horizon, list[Finding]]]](
    postgresql=_snapshot_horizon, sqlite=_newest_horizon
)
