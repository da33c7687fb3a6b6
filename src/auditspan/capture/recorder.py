"""Recorder: builds audit records from changes and their context."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeAlias

from opentelemetry import trace

from auditspan.capture.erasable import READABLE, of_actor
from auditspan.capture.origin import Origin
from auditspan.capture.row_change import RowChange
from auditspan.capture.unaudited import unaudited_reason
from auditspan.context import AuditContext, current_context
from auditspan.errors import AuditConfigError, AuditWriteError, MissingActorError
from auditspan.format import (
    MAX_MILLIS,
    RANDOM_BYTES,
    Actor,
    AuditRecord,
    Changes,
    Disclosure,
    Json,
    Outcome,
    Secrets,
    Service,
    Target,
    redact_members,
    uuid7,
    without_password_hashes,
)
from auditspan.mapping import Privacy

Enrich: TypeAlias = Callable[[], Mapping[str, Json]]
"""A function that returns metadata for the records of the running code."""


def utc_now() -> datetime:
    """Return the current time; the default clock of a trail."""
    return datetime.now(UTC)


def fresh_id() -> str:
    """Return a new version 7 UUID; the default source of a trail's ids."""
    millis = int(time.time_ns()) // 1_000_000  # libraries that freeze time may return a float
    return uuid7(min(max(millis, 0), MAX_MILLIS), os.urandom(RANDOM_BYTES))


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """Builder of records. The clock and the ids are injected, so that tests can fix them.

    Attributes:
        service: the program that writes; the resource of its log records.
        strict: whether to refuse a record without an actor; otherwise its actor is unknown.
        clock: returns the current time, aware.
        new_id: returns a new version 7 UUID.
        enrich: returns metadata for every record.
        privacy: the personal data that is not recorded.
    """

    service: Service
    strict: bool
    clock: Callable[[], datetime] = utc_now
    new_id: Callable[[], str] = fresh_id
    enrich: Enrich | None = None
    privacy: Privacy = field(default_factory=Privacy)

    def origin(self) -> Origin:
        """Return the current time, context and span; call the functions that give parts of them.

        Raises:
            AuditWriteError: `enrich` failed.
        """
        context = self._completed(current_context() or AuditContext())
        span = trace.get_current_span().get_span_context()
        is_traced = span.is_valid
        return Origin(
            _aware(self.clock()),
            context,
            context.resolve_actor(),
            trace.format_trace_id(span.trace_id) if is_traced else None,
            trace.format_span_id(span.span_id) if is_traced else None,
            unaudited_reason(),
        )

    def record(
        self,
        action: str,
        *,
        tx_id: str,
        origin: Origin | None = None,
        target: Target | None = None,
        changes: Changes | None = None,
        outcome: Outcome = "success",
        reason: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        readable: Mapping[str, Json] | None = None,
        change_id: int | None = None,
        disclosures: Sequence[Disclosure] = (),
    ) -> AuditRecord:
        """Return a record with this origin, by default the current one.

        Raises:
            MissingActorError: the recorder is strict, and no actor is set.
        """
        origin = origin or self.origin()
        context, actor = origin.context, origin.actor or self._unknown_actor(action)
        details = _without_secrets(context.metadata, metadata, self.privacy.secrets)
        if self.privacy.erasable:
            disclosures = (*disclosures, *of_actor(self.privacy, actor, context))
        return AuditRecord(
            event_id=self.new_id(),
            occurred_at=origin.moment,
            action=action,
            outcome=outcome,
            reason=_clean(reason or context.reason),
            actor=actor,
            on_behalf_of=context.on_behalf_of,
            target=target,
            changes=changes or {},
            request=context.request,
            trace_id=origin.trace_id,
            span_id=origin.span_id,
            tx_id=tx_id,
            tenant=context.tenant,
            service=self.service,
            metadata={**details, READABLE: dict(readable)} if readable else details,
            change_id=change_id,
            disclosures=disclosures,
        )

    def record_change(self, change: RowChange, origin: Origin, tx_id: str) -> AuditRecord:
        """Return the record of a captured change.

        Raises:
            MissingActorError: the recorder is strict, and no actor is set.
        """
        return self.record(
            change.action or f"{change.target.type}.{change.verb}",
            tx_id=tx_id,
            origin=origin,
            target=change.target,
            changes=change.changes,
            reason=origin.unaudited,
            metadata=change.metadata,
            readable=change.readable,
            change_id=change.change_id,
            disclosures=change.disclosures,
        )

    def _completed(self, context: AuditContext) -> AuditContext:
        """Return the context with the metadata of `enrich`, and without personal data."""
        if self.enrich is not None:
            context = replace(context, metadata={**_called(self.enrich), **context.metadata})
        if context.request is not None:
            request = self.privacy.of_request(context.request)
            context = replace(context, request=request) if request != context.request else context
        return context

    def _unknown_actor(self, action: str) -> Actor:
        if self.strict:
            raise missing_actor(action)
        return Actor.unknown()


def missing_actor(what: str) -> MissingActorError:
    """Return the error that a strict trail raises when no actor is set."""
    return MissingActorError(
        f"{what} was refused because no actor is set: wrap the work in "
        "`with audit_context(actor=Actor.user(...))` (or Actor.system(...) for a job), "
        "or give the trail strict=False to record the actor as unknown"
    )


def _called(enrich: Enrich) -> Mapping[str, Json]:
    try:
        return dict(enrich())
    except Exception as error:
        raise AuditWriteError(
            f"the function `enrich` of the trail failed with {type(error).__name__}, so the change "
            "was refused: see the error above, and let the function return a mapping"
        ) from error


def _clean(reason: str | None) -> str | None:
    return without_password_hashes(reason) if reason else reason


def _aware(moment: object) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise AuditConfigError(
            f"the clock of the trail must return an aware datetime, not a {_kind(moment)}: pass "
            "AuditTrail(clock=lambda: datetime.now(UTC))"
        )
    return moment


def _kind(moment: object) -> str:
    return "naive datetime" if isinstance(moment, datetime) else type(moment).__name__


def _without_secrets(
    common: Mapping[str, Json], own: Mapping[str, Json] | None, secrets: Secrets
) -> Mapping[str, Json]:
    """Return the application's metadata without secret members and password hashes."""
    if not common and not own:
        return {}
    found = redact_members("metadata", {**common, **(own or {})}, secrets, None)
    assert isinstance(found, dict)  # noqa: S101 (redaction keeps the type)
    return found
