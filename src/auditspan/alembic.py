"""What a migration needs to make the audit tables append-only.

    from alembic import op
    from auditspan.alembic import create_guards, drop_guards

    def upgrade() -> None:
        create_guards(op)

    def downgrade() -> None:
        drop_guards(op)

`partition_audit_event(op)` turns `audit_event` into a table that is partitioned by month, on
PostgreSQL; docs/how-to/partition-the-trail.md says when, and what changes.

With `auditspan.autogenerate` imported, Alembic writes this by itself where it makes the tables. On
SQLite, add it again behind a batch migration of an audit table, which makes the table anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from sqlalchemy import Dialect, Executable, MetaData, Table

from auditspan.appendonly import creation, removal
from auditspan.partitioning import partitioning
from auditspan.partitions import guard_partitions, unguard_partitions
from auditspan.tables import audit_tables


class MigrationOperations(Protocol):
    """What is used of `alembic.op`, with a database or with `--sql`."""

    def get_context(self) -> Any:  # noqa: ANN401 (Alembic's MigrationContext, which we do not import)
        """The context with its `dialect`."""

    def execute(self, sqltext: Executable | str) -> None:
        """Run a statement, or print it."""


def create_guards(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Make the triggers of this release on the audit tables, in place of any that are there."""
    dialect: Dialect = op.get_context().dialect
    for table in _append_only(schema):
        for statement in (
            *removal(table, dialect),
            *creation(table, dialect),
            *guard_partitions(table, dialect),
        ):
            op.execute(statement)


def drop_guards(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Take the triggers away; until they are back, rows can be changed and removed."""
    dialect: Dialect = op.get_context().dialect
    for table in _append_only(schema):
        for statement in (*unguard_partitions(table, dialect), *removal(table, dialect)):
            op.execute(statement)


def partition_audit_event(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Partition `audit_event` by month; what is in it becomes the first partition, where it lies.

    For the owner of the tables. It takes ACCESS EXCLUSIVE, and reads the table twice unless that
    was prepared. Where the table is partitioned, its functions, rights and guards are made again.

    Raises:
        AuditConfigError: the database is not PostgreSQL.
    """
    tables = audit_tables(MetaData(schema=schema))
    for statement in partitioning(tables.event, tables.leaf, op.get_context().dialect):
        op.execute(statement)


def _append_only(schema: str | None) -> Iterator[Table]:
    yield from audit_tables(MetaData(schema=schema)).append_only
