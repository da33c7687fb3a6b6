"""What a connection has seen of the flush that runs on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import InstanceState

from auditspan.record import AuditRecord


@dataclass(eq=False)
class Flush:
    """The running flush of one connection.

    Attributes:
        open: the objects whose statements run now, between their `before_…` and `after_…` hooks,
            with their old values. While there are any, a statement of the unit of work is theirs.
        items: what has happened so far, in order: changes of objects, records of other statements,
            and rows that a statement of the flush may change by a cascade.
        cascaded: the tables whose cascades are already looked after.
    """

    open: dict[InstanceState[Any], dict[str, Any]] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    cascaded: set[Table] = field(default_factory=set)

    def extend(self, records: Sequence[AuditRecord]) -> None:
        """Put the records of another statement behind what has happened so far."""
        self.items.extend(records)
