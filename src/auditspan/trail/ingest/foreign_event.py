"""Event of another program, as that program states it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from auditspan.errors import AuditConfigError
from auditspan.format import Actor, Outcome, Target, require_action, require_outcome

CLOCK_AHEAD = timedelta(minutes=5)
CLOCK_BEHIND = timedelta(days=1)
"""The differences between a time and the trail's clock from which an event is flagged."""

MAX_TEXT = 512
"""The maximum number of characters in an action, and in an id: PostgreSQL indexes them."""

RESERVED_TYPES = frozenset({"trail", "migration"})
"""Types of events that only a trail itself records."""

_EVENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}"
)
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2500, 1, 1, tzinfo=UTC)
"""The times that a log record can have: nanoseconds since 1970, in 64 bits."""


class SpanIds(NamedTuple):
    """The trace and the span in which an event happened."""

    trace_id: str | None
    span_id: str | None


@dataclass(frozen=True, kw_only=True)
class ForeignEvent:
    """Event of another program, for `AuditTrail.ingest`.

    Attributes:
        action: `type.verb`; the type is not one of the trail's own models.
        event_id: a UUID of version 4 or 7 in lower case. With it, the event is recorded once,
            however often it is sent; without it, each call records another event.
        occurred_at: the time of the event, aware; None for the time of the call.
        actor: the actor; None for the producer itself.
        on_behalf_of: the person or service for which the actor acted.
        target: the object that was acted on; not of a type of the trail's own models.
        outcome: the outcome.
        reason: the reason, in words.
        changes: old and new values by column, as in `{"total": {"old": "1", "new": "2"}}`. Values
            of columns with secret names are redacted.
        metadata: further details; values of members with secret names are redacted.
        traceparent: the trace context of the event (W3C); None for the current span.
    """

    action: str
    event_id: str | None = None
    occurred_at: datetime | None = None
    actor: Actor | None = None
    on_behalf_of: Actor | None = None
    target: Target | None = None
    outcome: Outcome = "success"
    reason: str | None = None
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    traceparent: str | None = None

    def require_valid(self, own_types: Collection[str]) -> None:
        """Check everything that does not depend on the trail's rows.

        Raises:
            AuditConfigError: a member is invalid, or the event would be one of the trail's own.
            AuditBodyError: the outcome is invalid.
        """
        require_action(self.action, None)
        require_outcome(self.outcome)
        for problem in self._problems(own_types):
            raise AuditConfigError(problem)

    def span_ids(self) -> SpanIds | None:
        """Return the trace and span of `traceparent`; None if there is none."""
        match = _TRACEPARENT.fullmatch(self.traceparent or "")
        return SpanIds(match[1], match[2]) if match else None

    def _problems(self, own_types: Collection[str]) -> Iterator[str]:
        types = {self.action.rpartition(".")[0], self.target.type if self.target else None}
        if found := types & {*own_types, *RESERVED_TYPES}:
            yield (
                f"only the trail itself records events of the type {found.pop()!r}: choose another "
                "action or target type, such as one with the name of the program in it"
            )
        if self.event_id is not None and not _EVENT_ID.fullmatch(self.event_id):
            yield "invalid event_id: expected a UUID of version 4 or 7 in lower case"
        if self.traceparent is not None and self.span_ids() is None:
            yield "invalid traceparent: expected 00-<trace id>-<span id>-<flags>, hexadecimal"
        if any(actor.type == "database" for actor in (self.actor, self.on_behalf_of) if actor):
            yield "invalid actor type 'database': only the trail itself records such actors"
        yield from self._time_problems()
        if any(len(text) > MAX_TEXT for text in self._indexed() if text):
            yield f"the action, types and ids must have at most {MAX_TEXT} characters"
        if any(not sides or sides.keys() - {"old", "new"} for sides in self.changes.values()):
            yield "invalid changes: expected old, new or both for each column"
        if "ingest" in self.metadata:
            yield "the name 'ingest' in metadata is reserved: choose another name"

    def _time_problems(self) -> Iterator[str]:
        if self.occurred_at is None:
            return
        if self.occurred_at.tzinfo is None:
            yield "occurred_at has no time zone: pass an aware datetime"
        elif not _EARLIEST <= self.occurred_at < _LATEST:
            yield "occurred_at must be between 1970 and 2499"

    def _indexed(self) -> Iterator[str | None]:
        target, actor = self.target, self.actor
        yield self.action
        yield from (target.type, target.id) if target else ()
        yield from (actor.id, actor.label) if actor else ()
