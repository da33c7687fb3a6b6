"""Input schema of events that other services record."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, RootModel

from auditspan import Actor, ForeignEvent, Target
from auditspan.format import Outcome
from auditspan.trail.ingest import MAX_EVENTS, MAX_TEXT
from auditspan_service.schemas import ACTION_PATTERN, MAX_REASON, Strict, parse_time


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


EventId = Annotated[
    str,
    Field(
        pattern="^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[47][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"
    ),
    BeforeValidator(_lower),
]
Action = Annotated[str, Field(pattern=ACTION_PATTERN, max_length=MAX_TEXT)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
TypeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)]
Time = Annotated[AwareDatetime, BeforeValidator(parse_time)]
Traceparent = Annotated[str, Field(pattern="^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
Version = Annotated[int, Field(ge=0, lt=2**53)]


class EventActor(Strict):
    """Actor, as the producer knows it."""

    type: Literal["user", "service", "system", "anonymous", "unknown"]
    id: Name | None = None
    label: Name | None = None

    def actor(self) -> Actor:
        """Return the actor of a record."""
        return Actor(type=self.type, id=self.id, label=self.label)


class EventTarget(Strict):
    """Object that was acted on."""

    type: TypeName
    id: Name | None = None
    version: Version | None = None


class EventChange(Strict):
    """Old and new value of one member; a creation has only `new`, a deletion only `old`."""

    old: Any = None
    new: Any = None

    def sides(self) -> dict[str, Any]:
        """Return only the values that were given."""
        return self.model_dump(exclude_unset=True)


class NewEvent(Strict):
    """Event of another service."""

    action: Action
    event_id: EventId | None = None
    occurred_at: Time | None = None
    actor: EventActor | None = None
    on_behalf_of: EventActor | None = None
    target: EventTarget | None = None
    outcome: Outcome = "success"
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON)] | None = None
    changes: dict[str, EventChange] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    traceparent: Traceparent | None = None

    def foreign(self) -> ForeignEvent:
        """Return the event for `AuditTrail.ingest`."""
        return ForeignEvent(
            action=self.action,
            event_id=self.event_id,
            occurred_at=self.occurred_at,
            actor=self.actor.actor() if self.actor else None,
            on_behalf_of=self.on_behalf_of.actor() if self.on_behalf_of else None,
            target=Target(**self.target.model_dump()) if self.target else None,
            outcome=self.outcome,
            reason=self.reason,
            changes={name: one.sides() for name, one in self.changes.items()},
            metadata=self.metadata,
            traceparent=self.traceparent,
        )


Events = Annotated[list[NewEvent], Field(min_length=1, max_length=MAX_EVENTS)]


class EventBatch(RootModel[Events]):
    """Events that are recorded together or not at all."""
