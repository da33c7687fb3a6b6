"""Removal of the rows that an authorised purge covers, on each database."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import Connection, Table

from auditspan.storage.dialects import PerDialect
from auditspan.storage.purging import postgresql, sqlite
from auditspan.storage.tables import AuditTables


class Purging(Protocol):
    """Removal of rows on one database; it refuses rows that no authorised purge covers."""

    def may_purge(self, connection: Connection, tables: AuditTables, /) -> bool:
        """Return whether this role may remove rows."""

    def lock_authorisation(self, connection: Connection, tables: AuditTables, /) -> None:
        """Wait until no other transaction authorises a purge, and let no other begin to."""

    def count_waiting(self, connection: Connection, staging: Table, /) -> int:
        """Return the number of committed changes that wait to be recorded."""

    def remove(
        self, connection: Connection, tables: AuditTables, size: int, first: int, last: int, /
    ) -> int:
        """Remove the rows with ids from `first` to `last` of the first `size` leaves."""

    def drop_partitions(
        self, connection: Connection, tables: AuditTables, /
    ) -> list[tuple[str, int]]:
        """Drop partitions whose rows are all covered; return their names and numbers of rows."""


PURGING = PerDialect[Purging](postgresql=postgresql, sqlite=sqlite)
