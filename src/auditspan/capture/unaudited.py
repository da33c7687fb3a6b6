"""The one way round the capture of statements, which is itself recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from auditspan.errors import AuditConfigError

_reason: ContextVar[str | None] = ContextVar("auditspan_unaudited", default=None)


def unaudited_reason() -> str | None:
    """Why statements are not captured row by row now; None: they are."""
    return _reason.get()


@contextmanager
def unaudited(*, reason: str) -> Iterator[None]:
    """Let statements on audited tables pass without their rows, each recorded as a statement.

    What the unit of work writes is captured all the same.

    Raises:
        AuditConfigError: the reason is empty.
    """
    if not reason.strip():
        raise AuditConfigError("unaudited(reason=...) wants a reason, which stands in the trail")
    token = _reason.set(reason)
    try:
        yield
    finally:
        _reason.reset(token)
