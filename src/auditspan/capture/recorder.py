"""From what happened to an audit record: adds who, when, where and the ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from opentelemetry import trace

from auditspan.context import AuditContext, current_context
from auditspan.errors import AuditConfigError, MissingActorError
from auditspan.format import (
    Actor,
    AuditRecord,
    Changes,
    Json,
    Outcome,
    Secrets,
    Service,
    Target,
    redact_members,
    without_password_hashes,
)


class Surroundings(NamedTuple):
    """What all that happens at once has in common: when, who acts, in which request and trace.

    The rows of one flush happen at once, and those of one batch of a statement.
    """

    moment: datetime
    context: AuditContext
    actor: Actor | None
    trace_id: str | None
    span_id: str | None


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """Makes records. The clock and the ids come from outside, so that tests can fix them.

    Attributes:
        service: the program that writes; the resource of its log records.
        clock: the time now, aware.
        new_id: a fresh version 7 UUID.
        strict: refuse a record when nobody said who acts; else the actor is unknown.
    """

    service: Service
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    strict: bool

    def surroundings(self) -> Surroundings:
        """The time, the context and the span now; a function that says who acts is asked."""
        context = current_context() or AuditContext()
        span = trace.get_current_span().get_span_context()
        return Surroundings(
            moment=_aware(self.clock()),
            context=context,
            actor=context.resolve_actor(),
            trace_id=trace.format_trace_id(span.trace_id) if span.is_valid else None,
            span_id=trace.format_span_id(span.span_id) if span.is_valid else None,
        )

    def record(  # noqa: PLR0913 (each is a member of the body)
        self,
        action: str,
        *,
        tx_id: str,
        surroundings: Surroundings | None = None,
        target: Target | None = None,
        changes: Changes | None = None,
        outcome: Outcome = "success",
        reason: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        change_id: int | None = None,
    ) -> AuditRecord:
        """One record in these surroundings; by default in those of now.

        Raises:
            MissingActorError: strict, and no context says who acts.
        """
        moment, context, actor, trace_id, span_id = surroundings or self.surroundings()
        return AuditRecord(
            event_id=self.new_id(),
            occurred_at=moment,
            action=action,
            outcome=outcome,
            reason=_clean(reason or context.reason),
            actor=actor or self._nobody(action),
            on_behalf_of=context.on_behalf_of,
            target=target,
            changes=changes or {},
            request=context.request,
            trace_id=trace_id,
            span_id=span_id,
            tx_id=tx_id,
            tenant=context.tenant,
            service=self.service,
            metadata=_without_secrets(context.metadata, metadata),
            change_id=change_id,
        )

    def _nobody(self, action: str) -> Actor:
        if self.strict:
            raise missing_actor(action)
        return Actor.unknown()


def missing_actor(what: str) -> MissingActorError:
    """The error of a trail that is strict, where nobody said who acts."""
    return MissingActorError(
        f"{what} was refused because nobody said who acts: wrap the work in "
        "`with audit_context(actor=Actor.user(...))` (or Actor.system(...) for a job), "
        "or give the trail strict=False to record the actor as unknown"
    )


def _clean(reason: str | None) -> str | None:
    return without_password_hashes(reason) if reason else reason


def _aware(moment: object) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise AuditConfigError(
            f"the clock of the trail must return an aware datetime, not a {_kind(moment)}: use "
            "AuditTrail(clock=lambda: datetime.now(UTC))"
        )
    return moment


def _kind(moment: object) -> str:
    return "naive datetime" if isinstance(moment, datetime) else type(moment).__name__


def _without_secrets(
    common: Mapping[str, Json], own: Mapping[str, Json] | None
) -> Mapping[str, Json]:
    """What the application adds, without secret members and password hashes."""
    if not common and not own:
        return {}
    found = redact_members("metadata", {**common, **(own or {})}, Secrets(), None)
    assert isinstance(found, dict)  # noqa: S101 (as what was given)
    return found
