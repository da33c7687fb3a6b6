"""Partitions of `audit_event`, where the database supports them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import DDL, Connection, Dialect, Row, Table

from auditspan.storage.dialects import PerDialect
from auditspan.storage.partitions import postgresql, unsupported


class Partitions(Protocol):
    """The partitions of one database.

    Attributes:
        IS_SUPPORTED: whether the table can be partitioned.
    """

    IS_SUPPORTED: bool

    def partitions_of(
        self, connection: Connection, table: Table, /
    ) -> Sequence[Row[tuple[str, str, bool]]]:
        """Return the partitions of this table: `name` quoted for SQL, and `bare`."""

    def partitioned_relations(
        self, connection: Connection, /
    ) -> Sequence[Row[tuple[bool, str, str | None]]]:
        """Return partitioned tables (`is_whole`) and partitions, by `name` and `schema`."""

    def create_ahead(self, connection: Connection, table: Table, /) -> Sequence[str]:
        """Create missing partitions for this month and the next three; return their names."""

    def guard_partitions(self, table: Table, dialect: Dialect, /) -> Sequence[DDL]:
        """Return the statements that protect existing partitions like the table."""

    def unguard_partitions(self, table: Table, dialect: Dialect, /) -> Sequence[DDL]:
        """Return statements that drop the partition triggers which outlast those of the table."""

    def partitioning(self, event: Table, leaf: Table, dialect: Dialect, /) -> Sequence[DDL]:
        """Return the statements that partition the table, or repair a table that is partitioned.

        Raises:
            AuditConfigError: the database does not support partitions.
        """


PARTITIONS = PerDialect[Partitions](postgresql=postgresql, sqlite=unsupported)
