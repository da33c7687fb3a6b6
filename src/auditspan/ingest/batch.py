"""Batch of foreign events, recorded in one transaction or not at all.

An event id is unique in the trail, so the row itself is the proof that an event was recorded: a
repeat finds it by the index. Of parallel calls with the same id, the index lets one insert; the
others then run again and find its row. In a partitioned trail the index covers one month: two calls
at the very turn of a month could both insert, which `verify` reports as `duplicate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from auditspan.capture import Capture, asks_for_retry
from auditspan.errors import (
    AuditBodyError,
    AuditConfigError,
    AuditWriteError,
    EventConflictError,
    IngestError,
)
from auditspan.format import Actor, AuditRecord
from auditspan.ingest.foreign_event import ForeignEvent
from auditspan.ingest.foreign_record import RecordMaker, is_repeat
from auditspan.mapping import types_of
from auditspan.storage import StoredEvent, get_events, purged_among

MAX_EVENTS = 500
"""The maximum number of events in a batch."""

_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One event as it is recorded.

    Attributes:
        event: the row.
        is_new: True if this call recorded it, False if an earlier one did.
    """

    event: StoredEvent
    is_new: bool


def ingest_batch(
    capture: Capture,
    begin: Callable[[], AbstractContextManager[Session]],
    events: Sequence[ForeignEvent],
    *,
    producer: Actor,
) -> list[Receipt]:
    """Record a batch in a transaction of its own; see `AuditTrail.ingest`.

    Args:
        capture: the trail.
        begin: opens a transaction, which commits when the block ends.
        events: the events, at most `MAX_EVENTS`.
        producer: the program that sends them.
    """
    _require_valid(capture, events)
    maker = RecordMaker(recorder=capture.recorder, mac_key=capture.mac_key, producer=producer)
    for _ in range(_ATTEMPTS - 1):
        try:
            with begin() as session:
                return _record(capture, session.connection(), events, maker)
        except (AuditWriteError, DBAPIError) as error:
            if not _is_race(error):
                raise
    with begin() as session:
        return _record(capture, session.connection(), events, maker)


def _is_race(error: AuditWriteError | DBAPIError) -> bool:
    """Return whether another transaction was faster, so that the same work may succeed now."""
    return isinstance(error.__cause__, IntegrityError) or asks_for_retry(error)


def _require_valid(capture: Capture, events: Sequence[ForeignEvent]) -> None:
    if not 1 <= len(events) <= MAX_EVENTS:
        raise IngestError(f"a batch must have 1 to {MAX_EVENTS} events, not {len(events)}")
    own_types, places = types_of(capture.metadata), dict[str, int]()
    for index, event in enumerate(events):
        try:
            event.require_valid(own_types)
        except (AuditConfigError, AuditBodyError) as error:
            raise IngestError(error.message, index=index) from error
        first = places.setdefault(event.event_id or str(index), index)
        if first < index:
            raise IngestError(f"event_id repeats that of the event at index {first}", index=index)


def _record(
    capture: Capture, connection: Connection, events: Sequence[ForeignEvent], maker: RecordMaker
) -> list[Receipt]:
    tx_id = capture.tx_id(connection)
    records = [_made(maker, event, tx_id, index) for index, event in enumerate(events)]
    ids = [record.event_id for record in records]
    known = get_events(connection, capture.tables, [one.event_id for one in events if one.event_id])
    for index, (event, record) in enumerate(zip(events, records, strict=True)):
        stored = known.get(record.event_id)
        if stored is not None and not is_repeat(event, record, stored.body):
            raise EventConflictError(
                "an event with this event_id is already recorded, with other content: send a new "
                "event_id for a new event",
                index=index,
            )
    new = [record for record in records if record.event_id not in known]
    given = [one.event_id for one in events if one.event_id and one.event_id not in known]
    if purged := purged_among(connection, capture.tables, given):
        raise EventConflictError(
            "an event with this event_id was recorded, and its row removed by retention: send a "
            "new event_id for a new event",
            index=next(index for index, each in enumerate(ids) if each in purged),
        )
    if new:
        capture.write(connection, new)
    stored_now = known | get_events(connection, capture.tables, [one.event_id for one in new])
    return [Receipt(event=stored_now[each], is_new=each not in known) for each in ids]


def _made(maker: RecordMaker, event: ForeignEvent, tx_id: str, index: int) -> AuditRecord:
    """Make one record; its body is made here already, so that an error names the index."""
    try:
        record = maker.record(event, tx_id)
        record.body()
    except AuditBodyError as error:
        raise IngestError(error.message, index=index) from error
    return record
