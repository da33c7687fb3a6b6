"""Baseline: events that record the rows which are older than the trail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, exists, true
from sqlalchemy.orm import Session

from auditspan.capture import CAPTURE_DIALECTS, Capture, busy
from auditspan.errors import AuditConfigError
from auditspan.format import AuditRecord
from auditspan.reading.replay import links, pin_settings
from auditspan.reading.states.family import families_of, family_of
from auditspan.reading.states.old_rows import LinkRows, ObjectRows, OldRow, Rows, count
from auditspan.storage import staging_of

BATCH = 1000
"""Rows of one transaction."""

Progress = Callable[[int, int], None]
"""Receives the number of rows read since the last call, and the number of all rows."""

_DETAILS = {"baseline": True}


def record_baseline(
    session: Session,
    capture: Capture,
    models: Sequence[object],
    *,
    batch: int = BATCH,
    since: int = 0,
    progress: Progress | None = None,
) -> int:
    """Record the rows of these models that have no history; return the number of events.

    Args:
        session: a session without an open transaction; it commits after each batch.
        capture: the trail.
        models: audited models, or tables without a model; all of the trail if there are none.
        batch: the maximum number of rows in one transaction.
        since: the first sequence number that counts as history; earlier events will be removed.
        progress: receives the number of rows read since the last call, and of all rows.
    """
    if session.in_transaction():
        raise AuditConfigError(
            "the baseline commits after each batch, so that it cannot run inside a transaction: "
            "pass a session that has not begun one"
        )
    places = [*_places(capture, models, _counts(capture, since))]
    total = _total(session, places) if progress else 0
    recorded = 0
    for rows in places:
        for read, events in _record(session, capture, rows, batch):
            recorded += events
            if progress:
                progress(read, total)
    return recorded


def _counts(capture: Capture, since: int) -> ColumnElement[bool]:
    """Return the condition that an event is not among the first leaves."""
    event, leaf = capture.tables.event.c, capture.tables.leaf.c
    return ~exists().where(leaf.row_id == event.id, leaf.seq < since) if since else true()


def _places(
    capture: Capture, models: Sequence[object], counts: ColumnElement[bool]
) -> Iterator[Rows]:
    """Yield the rows of objects, then those of links."""
    families = [family_of(one) for one in models] or families_of(capture.metadata)
    types = {name: family for family in families for name in family.types if name in family.wanted}
    event, key = capture.tables.event, capture.mac_key
    for name, family in types.items():
        yield ObjectRows(event=event, family=family, type_name=name, mac_key=key, counts=counts)
    for link in links(capture.metadata).values():
        if link.type in types:
            yield LinkRows(event=event, link=link, counts=counts)


def _total(session: Session, places: Sequence[Rows]) -> int:
    with session.begin():
        return sum(count(_connection(session, rows), rows) for rows in places)


def _record(session: Session, capture: Capture, rows: Rows, size: int) -> Iterator[tuple[int, int]]:
    """Record batches of rows; yield the numbers of rows and events after each COMMIT."""
    last: tuple[Any, ...] | None = None
    while True:
        with session.begin():
            connection = _connection(session, rows)
            with busy(connection):
                _begin(connection, capture)
                read, last, old = rows.read(connection, last, size)
                if old:
                    capture.write(connection, _records(connection, capture, old))
        yield read, len(old)
        if last is None:
            return


def _begin(connection: Connection, capture: Capture) -> None:
    CAPTURE_DIALECTS.of(connection).begin_to_write(connection, _staging(capture))
    pin_settings(connection)


def _records(connection: Connection, capture: Capture, old: Sequence[OldRow]) -> list[AuditRecord]:
    recorder, origin = capture.recorder, capture.recorder.origin()
    change_id = CAPTURE_DIALECTS.of(connection).new_change_id(connection, _staging(capture))
    tx_id = capture.tx_id(connection)
    return [
        recorder.record(
            f"{one.target.type}.baseline",
            tx_id=tx_id,
            origin=origin,
            target=one.target,
            changes=one.changes,
            metadata=_DETAILS,
            change_id=change_id,
            disclosures=one.disclosures,
        )
        for one in old
    ]


def _staging(capture: Capture) -> Table:
    found = staging_of(capture.metadata)
    assert found is not None  # noqa: S101 (added with the audit tables)
    return found


def _connection(session: Session, rows: Rows) -> Connection:
    return session.connection(bind_arguments={"clause": rows.statement})
