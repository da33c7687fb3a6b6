"""State of the seal and of delivery, as the header of each page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from auditspan.delivery import Backlog, read_backlog
from auditspan.storage import AuditTables

_LATE_SECONDS = 60.0
"""The age from which waiting rows are a problem. The sealer runs every 250 ms."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """State of the trail.

    Attributes:
        backlog: the rows that wait, in total and for each sink.
    """

    backlog: Backlog

    @property
    def sealed(self) -> int:
        """The number of sealed rows."""
        return self.backlog.sealed

    @property
    def sinks(self) -> Mapping[str, int]:
        """The rows that each sink has not acknowledged or has refused."""
        waiting = self.backlog.undelivered.items()
        return {name: one.rows + one.quarantined for name, one in waiting}

    @property
    def undelivered(self) -> int:
        """The rows that the sink that is farthest behind has not acknowledged or has refused."""
        return max(self.sinks.values(), default=0)

    @property
    def is_sealing_late(self) -> bool:
        """True if rows have waited for the sealer for too long."""
        return (self.backlog.unsealed.oldest_seconds or 0) > _LATE_SECONDS

    @property
    def is_delivery_late(self) -> bool:
        """True if rows have waited for a sink for too long, or a sink refused rows."""
        waiting = self.backlog.undelivered.values()
        return any((one.oldest_seconds or 0) > _LATE_SECONDS or one.quarantined for one in waiting)


def read_status(connection: Connection, tables: AuditTables) -> Status:
    """Return the state of the trail; read from indexes, however long the trail is."""
    return Status(backlog=read_backlog(connection, tables))
