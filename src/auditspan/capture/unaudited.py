"""Blocks in which rows are counted and not recorded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from auditspan.errors import AuditConfigError

_reason: ContextVar[str | None] = ContextVar("auditspan_unaudited", default=None)


def unaudited_reason() -> str | None:
    """Return the reason why rows are only counted now; None if they are recorded one by one."""
    return _reason.get()


@contextmanager
def unaudited(*, reason: str) -> Iterator[None]:
    """Count the rows that are written in the block, by any means, without recording their values.

    A transaction records one `type.statement` for each table and operation, with the reason and
    the number of rows. An object counts where it is flushed, not where it is added.

    Raises:
        AuditConfigError: the reason is empty.
    """
    if not reason.strip():
        raise AuditConfigError("unaudited(reason=...) requires a reason, which is recorded")
    token = _reason.set(reason)
    try:
        yield
    finally:
        _reason.reset(token)
