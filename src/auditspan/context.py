"""Who acts and in which request, carried by a context variable to wherever a change happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from auditspan.canonical import Json
from auditspan.record import Actor, Request

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


_current: ContextVar[AuditContext | None] = ContextVar("auditspan_context", default=None)


def current_context() -> AuditContext | None:
    """The innermost context of this thread or task."""
    return _current.get()


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
    outer = _current.get() or AuditContext()
    inner = AuditContext(
        actor=actor or outer.actor,
        on_behalf_of=on_behalf_of or outer.on_behalf_of,
        reason=reason or outer.reason,
        request=request or outer.request,
        tenant=tenant or outer.tenant,
        metadata={**outer.metadata, **(metadata or {})},
    )
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
