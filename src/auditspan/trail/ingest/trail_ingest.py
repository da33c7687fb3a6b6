"""Recording of events of other programs, as methods of the trail."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from auditspan.capture import Capture
from auditspan.errors import AuditConfigError, IngestError
from auditspan.format import Actor
from auditspan.telemetry.otlp import LogOrError, MalformedError
from auditspan.trail.ingest.batch import MAX_EVENTS, Receipt, ingest_batch, ingest_each
from auditspan.trail.ingest.foreign_event import ForeignEvent
from auditspan.trail.ingest.log_event import event_of_log
from auditspan.trail.sessions import Sessions, own_transaction


class TrailIngest:
    """The part of a trail that records events of other programs."""

    _capture: Capture
    _sessions: Sessions

    def ingest(self, events: Sequence[ForeignEvent], *, producer: Actor) -> list[Receipt]:
        """Record events of another program in a transaction of its own: all of them or none.

        An event with an `event_id` is recorded once, for ever, however often and in however many
        threads it is sent. The producer is recorded as the `service` of the events, and its id in
        `metadata.ingest`, with `clock` (`ahead` or `behind`) where `occurred_at` is far from the
        trail's own time.

        Args:
            events: up to 500 events.
            producer: the program that sends them, as it is authenticated.

        Returns:
            The recorded events in the same order, and whether each is new.

        Raises:
            IngestError: an event is invalid; `index` is its position.
            EventConflictError: the id of an event is recorded with other content.
            AuditConfigError: the sessions are asynchronous.
            AuditWriteError: the rows could not be written.
        """
        begin = partial(own_transaction, self._sessions)
        return ingest_batch(self._capture, begin, events, producer=producer)

    def ingest_logs(
        self, logs: Sequence[LogOrError], *, producer: Actor, on_behalf_of: bool = True
    ) -> list[Receipt | IngestError]:
        """Record the events of OTLP log records (`auditspan.telemetry.otlp`), each for itself.

        A record whose attribute `log.record.uid` is a UUID of version 4 or 7 is recorded once, for
        ever. A record that cannot be recorded does not prevent the others. They are committed 500
        at a time: if a later part fails, send all of them again.

        Args:
            logs: the log records, see `logs_of_json` and `logs_of_protobuf`.
            producer: the program that sends them, as it is authenticated.
            on_behalf_of: whether its events may have an actor on whose behalf the actor acted.

        Returns:
            The row of each log record in the same order, or the reason why it was refused.

        Raises:
            AuditConfigError: the sessions are asynchronous.
            AuditWriteError: the rows could not be written.
        """
        begin, outcomes = partial(own_transaction, self._sessions), list[Receipt | IngestError]()
        for start in range(0, len(logs), MAX_EVENTS):
            part = dict(enumerate(logs[start : start + MAX_EVENTS], start))
            refused, events = dict[int, IngestError](), dict[int, ForeignEvent]()
            for index, log in part.items():
                try:
                    events[index] = _event(log, on_behalf_of=on_behalf_of)
                except IngestError as error:
                    refused[index] = IngestError(error.message, index=index)
            found = refused | ingest_each(self._capture, begin, events, producer=producer)
            outcomes += [found[index] for index in part]
        return outcomes


def _event(log: LogOrError, *, on_behalf_of: bool) -> ForeignEvent:
    if isinstance(log, MalformedError):
        raise IngestError(f"the log record is not OTLP: {log}")
    try:
        event = event_of_log(log)
    except AuditConfigError as error:
        raise IngestError(error.message) from error
    if event.on_behalf_of and not on_behalf_of:
        raise IngestError("the producer may not record events on behalf of others")
    return event
