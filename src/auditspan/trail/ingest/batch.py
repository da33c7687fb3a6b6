"""Batch of foreign events, recorded in one transaction or not at all.

An event id is unique in the trail, so the row itself is the proof that an event was recorded: a
repeat finds it by the index. Of parallel calls with the same id, the index lets one insert; the
others then run again and find its row. In a partitioned trail the index covers one month: two calls
at the very turn of a month could both insert, which `verify` reports as `duplicate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

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
from auditspan.mapping import types_of
from auditspan.storage import StoredEvent, get_events, purged_among
from auditspan.trail.ingest.foreign_event import ForeignEvent
from auditspan.trail.ingest.foreign_record import RecordMaker, is_repeat

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
    if not 1 <= len(events) <= MAX_EVENTS:
        raise IngestError(f"a batch must have 1 to {MAX_EVENTS} events, not {len(events)}")
    numbered = dict(enumerate(events))
    for refused in (_invalid(capture, numbered), _repeated(numbered)):
        _raise_first(refused)
    found = _recorded(capture, begin, numbered, producer=producer, is_whole=True)
    return [one for one in found.values() if isinstance(one, Receipt)]


def ingest_each(
    capture: Capture,
    begin: Callable[[], AbstractContextManager[Session]],
    events: Mapping[int, ForeignEvent],
    *,
    producer: Actor,
) -> dict[int, Receipt | IngestError]:
    """Record those events of a batch that can be recorded, in a transaction of its own.

    Args:
        capture: the trail.
        begin: opens a transaction, which commits when the block ends.
        events: the events by their index, at most `MAX_EVENTS`.
        producer: the program that sends them.

    Returns:
        The row of each event, or the reason why it was refused.
    """
    refused = _invalid(capture, events)
    valid = {index: one for index, one in events.items() if index not in refused}
    again = _repeated(valid)
    fresh = {index: one for index, one in valid.items() if index not in again}
    found = _recorded(capture, begin, fresh, producer=producer, is_whole=False)
    firsts = {one.event_id: index for index, one in fresh.items()}
    for index, error in again.items():
        first = firsts[valid[index].event_id]
        outcome = found[first]
        if isinstance(outcome, Receipt) and valid[index] == valid[first]:
            found[index] = replace(outcome, is_new=False)
        else:
            found[index] = error
    return {index: (refused | found)[index] for index in events}


def _recorded(
    capture: Capture,
    begin: Callable[[], AbstractContextManager[Session]],
    events: Mapping[int, ForeignEvent],
    *,
    producer: Actor,
    is_whole: bool,
) -> dict[int, Receipt | IngestError]:
    if not events:
        return {}
    maker = RecordMaker(recorder=capture.recorder, mac_key=capture.mac_key, producer=producer)
    for _ in range(_ATTEMPTS - 1):
        try:
            with begin() as session:
                return _record(capture, session.connection(), events, maker, is_whole=is_whole)
        except (AuditWriteError, DBAPIError) as error:
            if not _is_race(error):
                raise
    with begin() as session:
        return _record(capture, session.connection(), events, maker, is_whole=is_whole)


def _is_race(error: AuditWriteError | DBAPIError) -> bool:
    """Return whether another transaction was faster, so that the same work may succeed now."""
    return isinstance(error.__cause__, IntegrityError) or asks_for_retry(error)


def _raise_first(refused: Mapping[int, IngestError]) -> None:
    if refused:
        raise refused[min(refused)]


def _invalid(capture: Capture, events: Mapping[int, ForeignEvent]) -> dict[int, IngestError]:
    own_types, refused = types_of(capture.metadata), dict[int, IngestError]()
    for index, event in events.items():
        try:
            event.require_valid(own_types)
        except (AuditConfigError, AuditBodyError) as error:
            refused[index] = IngestError(error.message, index=index)
    return refused


def _repeated(events: Mapping[int, ForeignEvent]) -> dict[int, IngestError]:
    places, refused = dict[str, int](), dict[int, IngestError]()
    for index, event in events.items():
        first = places.setdefault(event.event_id or str(index), index)
        if first < index:
            message = f"event_id repeats that of the event at index {first}"
            refused[index] = IngestError(message, index=index)
    return refused


def _record(
    capture: Capture,
    connection: Connection,
    events: Mapping[int, ForeignEvent],
    maker: RecordMaker,
    *,
    is_whole: bool,
) -> dict[int, Receipt | IngestError]:
    """Record the events that can be recorded; all of them or none if the batch is a whole."""
    tx_id = capture.tx_id(connection)
    made = {index: _made(maker, event, tx_id, index) for index, event in events.items()}
    records = {index: one for index, one in made.items() if isinstance(one, AuditRecord)}
    refused = {index: one for index, one in made.items() if isinstance(one, IngestError)}
    sent = [one.event_id for one in events.values() if one.event_id]
    known = get_events(connection, capture.tables, sent)
    refused |= _conflicts(events, records, known)
    refused |= _purged(connection, capture, events, known)
    if is_whole:
        _raise_first(refused)
    accepted = {index: one for index, one in records.items() if index not in refused}
    if new := [one for one in accepted.values() if one.event_id not in known]:
        capture.write(connection, new)
    stored = known | get_events(connection, capture.tables, [one.event_id for one in new])
    return {
        **refused,
        **{
            index: Receipt(event=stored[one.event_id], is_new=one.event_id not in known)
            for index, one in accepted.items()
        },
    }


def _conflicts(
    events: Mapping[int, ForeignEvent],
    records: Mapping[int, AuditRecord],
    known: Mapping[str, StoredEvent],
) -> dict[int, IngestError]:
    return {
        index: EventConflictError(
            "an event with this event_id is already recorded, with other content: send a new "
            "event_id for a new event",
            index=index,
        )
        for index, record in records.items()
        if (stored := known.get(record.event_id)) is not None
        and not is_repeat(events[index], record, stored.body)
    }


def _purged(
    connection: Connection,
    capture: Capture,
    events: Mapping[int, ForeignEvent],
    known: Mapping[str, StoredEvent],
) -> dict[int, IngestError]:
    """Return the errors of events that were recorded before, and removed by retention since."""
    given = {index: one.event_id for index, one in events.items() if one.event_id}
    purged = purged_among(connection, capture.tables, [*set(given.values()) - known.keys()])
    return {
        index: EventConflictError(
            "an event with this event_id was recorded, and its row removed by retention: send a "
            "new event_id for a new event",
            index=index,
        )
        for index, event_id in given.items()
        if event_id in purged
    }


def _made(
    maker: RecordMaker, event: ForeignEvent, tx_id: str, index: int
) -> AuditRecord | IngestError:
    """Make one record; its body is made here already, so that an error names the index."""
    try:
        record = maker.record(event, tx_id)
        record.body()
    except AuditBodyError as error:
        return IngestError(error.message, index=index)
    return record
