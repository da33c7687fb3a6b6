"""Audit context (actor, reason, request, tenant), carried by a context variable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context

from auditspan.errors import AuditConfigError
from auditspan.format import Actor, Json, Request
from auditspan.telemetry.scope import SCHEMA_URL, SCOPE_VERSION

_P = ParamSpec("_P")
_R = TypeVar("_R")
_tracer = trace.get_tracer("auditspan", SCOPE_VERSION, schema_url=SCHEMA_URL)

ActorSource = Actor | Callable[[], Actor]


@dataclass(frozen=True, kw_only=True)
class AuditContext:
    """Contextual members of a record."""

    actor: ActorSource | None = None
    on_behalf_of: Actor | None = None
    reason: str | None = None
    request: Request | None = None
    tenant: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def resolve_actor(self) -> Actor | None:
        """Return the actor; if it was given as a function, call that now.

        Raises:
            AuditConfigError: something else than an actor was given or returned.
        """
        actor = self.actor() if callable(self.actor) else self.actor
        if actor is not None and not isinstance(actor, Actor):
            raise AuditConfigError(
                f"invalid actor of type {type(actor).__name__}: expected an Actor, such as "
                "Actor.user('7') or Actor.system('nightly-billing')"
            )
        return actor

    def over(self, outer: AuditContext) -> AuditContext:
        """Return this context, with missing values taken from `outer`."""
        return AuditContext(
            actor=self.actor or outer.actor,
            on_behalf_of=self.on_behalf_of or outer.on_behalf_of,
            reason=self.reason or outer.reason,
            request=self.request or outer.request,
            tenant=self.tenant or outer.tenant,
            metadata={**outer.metadata, **self.metadata},
        )


@dataclass(frozen=True, kw_only=True)
class RequestScope:
    """The context of a framework's current request.

    Attributes:
        context: the actor and the request.
        hides: the `audit_context` that was open when the framework began to handle the request;
            it does not apply inside the request.
    """

    context: AuditContext
    hides: AuditContext | None = None


ScopeSource = Callable[[], RequestScope | None]

_current: ContextVar[AuditContext | None] = ContextVar("auditspan_context", default=None)
_sources: list[ScopeSource] = []


def add_scope_source(source: ScopeSource) -> None:
    """Register a function that returns the framework's current request; called for each record."""
    _sources.append(source)


def current_context() -> AuditContext | None:
    """Return the innermost context of this thread or task."""
    scope = _request_scope()
    opened = _opened_in(scope)
    if scope is None:
        return opened
    return opened.over(scope.context) if opened else scope.context


def opened_context() -> AuditContext | None:
    """Return the innermost `audit_context` of this thread or task, ignoring the request scope."""
    return _current.get()


def _opened_in(scope: RequestScope | None) -> AuditContext | None:
    opened = _current.get()
    return None if scope is not None and opened is scope.hides else opened


def _request_scope() -> RequestScope | None:
    for source in _sources:
        scope = source()
        if scope is not None:
            return scope
    return None


@contextmanager
def audit_context(
    *,
    actor: ActorSource | None = None,
    on_behalf_of: Actor | None = None,
    reason: str | None = None,
    request: Request | None = None,
    tenant: str | None = None,
    metadata: Mapping[str, Json] | None = None,
) -> Iterator[AuditContext]:
    """Set the actor, the reason and other context for every change inside the block.

    Contexts nest: missing values are taken from the outer context, metadata is merged, and the
    outer context is restored when the block ends, also by an exception.

    Args:
        actor: the actor, or a function that returns it when a change is recorded (the user of a
            web request is known only after authentication).
        on_behalf_of: the person or service for which the actor acts, if different from the actor.
        reason: the reason, as free text.
        request: the HTTP request that makes the changes.
        tenant: the tenant that owns the data.
        metadata: additional information, as canonical JSON values.
    """
    named = AuditContext(
        actor=actor,
        on_behalf_of=on_behalf_of,
        reason=reason,
        request=request,
        tenant=tenant,
        metadata=metadata or {},
    )
    inner = named.over(_opened_in(_request_scope()) or AuditContext())
    token = _current.set(inner)
    try:
        yield inner
    finally:
        _current.reset(token)


def enter_context(context: AuditContext) -> Callable[[], None]:
    """Make this context current; call the returned function to restore the previous one.

    For framework hooks, which have a start and an end but no block. In application code, use
    `audit_context`.
    """
    token = _current.set(replace(context))
    return lambda: _current.reset(token)


def carry_trace() -> Callable[[], AbstractContextManager[object]]:
    """Capture the current span, for work of the same request after the span was left.

    Returns:
        Makes the span current for a block, unless another one is.
    """
    span = trace.get_current_span()

    def attached() -> AbstractContextManager[object]:
        if trace.get_current_span().get_span_context().is_valid:
            return nullcontext()
        return trace.use_span(span, record_exception=False, set_status_on_exception=False)

    return attached


@dataclass(frozen=True)
class CarriedContext:
    """Snapshot of the audit context, reusable any number of times in any thread or task.

    A job has its own trace, linked to the trace that started it: its spans may start long after
    the request has ended, and belong to separate work.
    """

    context: AuditContext
    origin: trace.SpanContext

    def run(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function in this context, in a new span."""
        with self.attached(getattr(function, "__qualname__", "job")):
            return function(*args, **kwargs)

    @contextmanager
    def attached(self, name: str) -> Iterator[None]:
        """Make this context current for a block, in a new span with this name."""
        links = [trace.Link(self.origin)] if self.origin.is_valid else []
        leave = enter_context(self.context)
        try:
            with _tracer.start_as_current_span(name, context=Context(), links=links):
                yield
        finally:
            leave()


def carry_context() -> CarriedContext:
    """Capture the current context and resolve its actor, for work in another thread or task.

    carried = auditspan.carry_context()
    executor.submit(carried.run, send_invoices, month)
    """
    context = current_context() or AuditContext()
    return CarriedContext(
        context=replace(context, actor=context.resolve_actor()),
        origin=trace.get_current_span().get_span_context(),
    )
