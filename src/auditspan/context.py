"""Who acts and in which request, carried by a context variable to wherever a change happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context

from auditspan.format import Actor, Json, Request

_P = ParamSpec("_P")
_R = TypeVar("_R")
_tracer = trace.get_tracer("auditspan")

ActorSource = Actor | Callable[[], Actor]


@dataclass(frozen=True, kw_only=True)
class AuditContext:
    """What a record takes from its surroundings."""

    actor: ActorSource | None = None
    on_behalf_of: Actor | None = None
    reason: str | None = None
    request: Request | None = None
    tenant: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def resolve_actor(self) -> Actor | None:
        """The actor; one that was given as a function is asked now."""
        return self.actor() if callable(self.actor) else self.actor

    def over(self, outer: AuditContext) -> AuditContext:
        """Return this context with what it leaves out taken from `outer`."""
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
        hides: the `audit_context` that was open when the framework began to handle the request,
            and does not apply inside it.
    """

    context: AuditContext
    hides: AuditContext | None = None


ScopeSource = Callable[[], RequestScope | None]

_current: ContextVar[AuditContext | None] = ContextVar("auditspan_context", default=None)
_sources: list[ScopeSource] = []


def add_scope_source(source: ScopeSource) -> None:
    """Ask this function for the framework's current request whenever a record is made."""
    _sources.append(source)


def current_context() -> AuditContext | None:
    """The innermost context of this thread or task."""
    scope = _request_scope()
    opened = _opened_in(scope)
    if scope is None:
        return opened
    return opened.over(scope.context) if opened else scope.context


def opened_context() -> AuditContext | None:
    """The innermost `audit_context` of this thread or task, without the framework's request."""
    return _current.get()


def _opened_in(scope: RequestScope | None) -> AuditContext | None:
    opened = _current.get()
    return None if scope is not None and opened is scope.hides else opened


def _request_scope() -> RequestScope | None:
    found = (source() for source in _sources)
    return next((scope for scope in found if scope is not None), None)


@contextmanager
def audit_context(  # noqa: PLR0913 (each is a member of the body)
    *,
    actor: ActorSource | None = None,
    on_behalf_of: Actor | None = None,
    reason: str | None = None,
    request: Request | None = None,
    tenant: str | None = None,
    metadata: Mapping[str, Json] | None = None,
) -> Iterator[AuditContext]:
    """Say who acts, and why, for every change inside the block.

    Contexts nest: what an inner one leaves out comes from the outer one, metadata is merged, and
    the outer one is back when the block ends, also by an exception.

    Args:
        actor: who acts, or a function that says so when a change is recorded (a web request knows
            its user only after authentication).
        on_behalf_of: for whom, where that is somebody else.
        reason: why, in words.
        request: the HTTP request in which it happens.
        tenant: whose data it is.
        metadata: anything else worth keeping; canonical JSON values.
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
    """Make this context the current one; the function returned restores the one before.

    For frameworks that know a beginning and an end but no block. `audit_context` is for people.
    """
    token = _current.set(replace(context))
    return lambda: _current.reset(token)


@dataclass(frozen=True)
class CarriedContext:
    """The audit context of one moment, to be used once or often, in any thread or task.

    A job has a trace of its own, with a link to the trace that began it: its spans may come long
    after those of the request, and belong to other work.
    """

    context: AuditContext
    origin: trace.SpanContext

    def run(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function in this context, in a span of its own."""
        with self.attached(getattr(function, "__qualname__", "job")):
            return function(*args, **kwargs)

    @contextmanager
    def attached(self, name: str) -> Iterator[None]:
        """Make this the current context for a block, in a span of this name."""
        links = [trace.Link(self.origin)] if self.origin.is_valid else []
        leave = enter_context(self.context)
        try:
            with _tracer.start_as_current_span(name, context=Context(), links=links):
                yield
        finally:
            leave()


def carry_context() -> CarriedContext:
    """The current context, with the actor as it is now, for work that goes on elsewhere.

    carried = auditspan.carry_context()
    executor.submit(carried.run, send_invoices, month)
    """
    context = current_context() or AuditContext()
    return CarriedContext(
        context=replace(context, actor=context.resolve_actor()),
        origin=trace.get_current_span().get_span_context(),
    )
