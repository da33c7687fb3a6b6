"""Reading of the next batch, with its log records."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from auditspan.delivery.batch import Batch, prepare
from auditspan.delivery.cursors import newest_seq, outgoing
from auditspan.storage import AuditTables, lift_time_limits

MAX_RECORDS = 1024
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class BatchReader:
    """Reader of batches of at most `MAX_RECORDS` records, about `MAX_BYTES` of bodies.

    Attributes:
        tables: the audit tables.
        trail: the name of the trail, if it has no signing key.
    """

    tables: AuditTables
    trail: str | None = None

    def read(self, connection: Connection, after: int, limit: int = MAX_RECORDS) -> Batch:
        """Read the batch after this sequence number, in a transaction of its own."""
        with connection.begin():
            lift_time_limits(connection)
            newest = newest_seq(connection, self.tables)
            limits = {"limit": limit, "max_bytes": MAX_BYTES}
            items = outgoing(connection, self.tables, after, trail=self.trail, **limits)
        return prepare(items, after=after, newest=newest)
