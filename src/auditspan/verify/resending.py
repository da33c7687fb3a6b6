"""Resending of events that a destination lacks.

Only those are sent, and the relay's cursor stays where it is: moving it back would deliver
everything after it a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from auditspan.delivery import Sink, load_cursors, prepare, rows_of, send_all, trail_name
from auditspan.format import SealedRow
from auditspan.storage import AuditTables, quarantined
from auditspan.verify.reconciliation import ReconcileReport

_CHUNK = 2000
_RESEND_BATCH = 200


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
        trail: the name of the trail; by default the name in its newest signed checkpoint.

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
        refused = send_all(sink, prepare(rows)) if rows else []
        done.refused |= {row.event_id: why for row, why in refused if isinstance(row, SealedRow)}
        done.sent += [row.event_id for row in rows if row.event_id not in done.refused]
        done.waiting += len(ids) - len(rows)
    return done


def accepted_since(
    connection: Connection,
    tables: AuditTables,
    sink: Sink,
    report: ReconcileReport,
    resent: Resent,
) -> list[str]:
    """Return the events that the sink once refused and has accepted since.

    They are in its files, or it acknowledged them when they were sent again. `mark_accepted`
    records this, so that they count as delivered.
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
