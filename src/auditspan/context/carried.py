"""The audit context and the trace in a message of a task queue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from auditspan.context.context import AuditContext, current_context, enter_context
from auditspan.format import Actor, Request
from auditspan.telemetry.scope import SCHEMA_URL, SCOPE_VERSION

HEADER = "auditspan"
"""The name of the text in a message."""

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("auditspan", SCOPE_VERSION, schema_url=SCHEMA_URL)


def sent() -> str:
    """Return the current context and trace as text for a message.

    The actor is resolved now. Of the request, only its id is sent: the client's address and user
    agent would stay in the queue.
    """
    context = current_context() or AuditContext()
    members: dict[str, Any] = {
        "actor": _actor_members(context.resolve_actor()),
        "on_behalf_of": _actor_members(context.on_behalf_of),
        "reason": context.reason,
        "tenant": context.tenant,
        "request_id": context.request.id if context.request else None,
        "metadata": dict(context.metadata),
    }
    trace_headers: dict[str, str] = {}
    _propagator.inject(trace_headers)
    return json.dumps({name: one for name, one in members.items() if one} | trace_headers)


@contextmanager
def received(text: str | None, task: str) -> Iterator[None]:
    """Make the context of a message current for the task, in a span that continues its trace.

    Where an instrumentation has already started a span for the task, that span stays current. The
    name of the task is recorded as `metadata.task`.

    Args:
        text: the text that `sent` returned; None if the message has none.
        task: the name of the task, which is the actor if the message has none.

    Raises:
        ValueError: the text is invalid.
    """
    members: Mapping[str, Any] = json.loads(text) if text else {}
    context = _context(members, task)
    has_span = trace.get_current_span().get_span_context().is_valid
    leave = enter_context(context)
    try:
        with nullcontext() if has_span else _span(members, task):
            yield
    finally:
        leave()


def _context(members: Mapping[str, Any], task: str) -> AuditContext:
    request_id = members.get("request_id")
    return AuditContext(
        actor=_actor(members.get("actor")) or Actor.system(task),
        on_behalf_of=_actor(members.get("on_behalf_of")),
        reason=members.get("reason"),
        tenant=members.get("tenant"),
        request=Request(id=request_id) if request_id else None,
        metadata={**members.get("metadata", {}), "task": task},
    )


def _span(members: Mapping[str, Any], task: str) -> AbstractContextManager[trace.Span]:
    return _tracer.start_as_current_span(
        task, context=_propagator.extract(members), kind=trace.SpanKind.CONSUMER
    )


def _actor_members(actor: Actor | None) -> dict[str, Any] | None:
    return asdict(actor) if actor else None


def _actor(members: Mapping[str, Any] | None) -> Actor | None:
    return Actor(**members) if members else None
