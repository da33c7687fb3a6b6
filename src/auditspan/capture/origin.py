"""Origin of changes: who wrote them, when and why."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from auditspan.context import AuditContext
from auditspan.format import Actor


class Origin(NamedTuple):
    """Time, actor, request and trace of the changes that are written together.

    The rows of one flush are written together, and so are those of one batch of a statement.

    Attributes:
        unaudited: the reason why its rows are only counted; None if each is recorded.
        is_migration: whether the rows are counted because a migration writes them.
    """

    moment: datetime
    context: AuditContext
    actor: Actor | None
    trace_id: str | None
    span_id: str | None
    unaudited: str | None = None
    is_migration: bool = False

    @property
    def is_counted(self) -> bool:
        """True if its rows are only counted, and not recorded one by one."""
        return self.is_migration or self.unaudited is not None


def is_same_context(origin: Origin, other: Origin) -> bool:
    """Return whether two origins differ only in their times."""
    return origin[1:] == other[1:]
