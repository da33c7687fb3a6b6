"""The last verification whose outcome was recorded in the trail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from auditspan.format import VERIFIED
from auditspan.reading import Event
from auditspan.storage import AuditTables, EventFilter, find_events


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Recorded outcome of `auditspan verify --record`.

    Attributes:
        event: the event, whose actor recorded it.
        sealed_since: the events that were sealed after it; None if the event does not tell.
    """

    event: Event
    sealed_since: int | None

    @property
    def has_passed(self) -> bool:
        """True if nothing was found."""
        return self.event.outcome == "success" and self.event.metadata.get("ok") is True

    def count(self, name: str) -> int:
        """Return a number of the outcome; 0 if it has none of this name."""
        found: Any = self.event.metadata.get(name)
        return found if isinstance(found, int) else 0


def read_verification(
    connection: Connection, tables: AuditTables, sealed: int
) -> Verification | None:
    """Return the last verification that was recorded, if any was."""
    found = find_events(connection, tables, EventFilter(action=VERIFIED), limit=1)
    if not found:
        return None
    event = Event.from_resource(found[0].resource())
    size = event.metadata.get("tree_size")
    return Verification(
        event=event, sealed_since=max(0, sealed - size) if isinstance(size, int) else None
    )
