"""Integrity: checkpoints, backlog, destinations, quarantine and the last verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from auditspan.delivery import Cursors, Undelivered, stored_cursors
from auditspan.storage import AuditTables, StoredText, UtcText, quarantined
from auditspan.viewer.checkpoints import Checkpoint, read_checkpoints
from auditspan.viewer.plot import Plot, plot
from auditspan.viewer.status import Status, read_status
from auditspan.viewer.verification import read_verification
from auditspan.viewer.viewer import Page, Viewer

_CHECKPOINTS = 100
_QUARANTINED = 50


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Sink with its cursors and the rows that wait for it.

    Attributes:
        updated_at: the time of the last movement of its cursors, as text in UTC.
        waiting: the sealed rows that it has not acknowledged, their age, its rate and last error.
        refused: the rows in its quarantine.
    """

    name: str
    cursors: Cursors
    updated_at: str
    waiting: Undelivered
    refused: Sequence[Row[Any]]


def integrity_page(viewer: Viewer, connection: Connection) -> Page:
    """Show what protects the trail, and how it is."""
    tables = viewer.trail.tables
    status = read_status(connection, tables)
    checkpoints = read_checkpoints(connection, tables, viewer.public_keys, limit=_CHECKPOINTS)
    return Page(
        template="integrity.html",
        values={
            "status": status,
            "checkpoints": checkpoints[::-1],
            "plots": [one for one in _plots(checkpoints) if one is not None],
            "destinations": _destinations(connection, tables, status),
            "verification": read_verification(connection, tables, status.sealed),
            "has_keys": bool(viewer.public_keys),
        },
        viewed={"page": "integrity"},
    )


def _plots(checkpoints: Sequence[Checkpoint]) -> list[Plot | None]:
    timed = [(one.created_at.timestamp(), one) for one in checkpoints if one.created_at]
    sizes = [(at, float(one.size)) for at, one in timed]
    lags = [(at, one.lag) for at, one in timed if one.lag is not None]
    batches = [(at, float(one.added)) for at, one in timed if one.added is not None]
    return [
        plot("Sealed events", sizes, from_zero=False),
        plot("Delay of the seal", lags, unit=" s"),
        plot("Events per checkpoint", batches),
    ]


def _destinations(connection: Connection, tables: AuditTables, status: Status) -> list[Destination]:
    moved = _moved(connection, tables)
    return [
        Destination(
            name=name,
            cursors=cursors,
            updated_at=moved.get(name, ""),
            waiting=status.backlog.undelivered[name],
            refused=_refused(connection, tables, name),
        )
        for name, cursors in stored_cursors(connection, tables).items()
    ]


def _moved(connection: Connection, tables: AuditTables) -> dict[str, str]:
    table = tables.delivery.c
    rows = connection.execute(select(StoredText(table.sink), UtcText(table.updated_at)))
    return {row[0]: row[1] for row in rows}


def _refused(connection: Connection, tables: AuditTables, sink: str) -> Sequence[Row[Any]]:
    table = tables.quarantine.c
    ids = quarantined(connection, tables, sink, limit=_QUARANTINED)
    columns = (
        StoredText(table.event_id).label("event_id"),
        StoredText(table.reason).label("reason"),
    )
    rows = select(*columns, UtcText(table.created_at).label("created_at"), table.seq)
    return connection.execute(rows.where(table.sink == sink, table.event_id.in_(ids))).all()
