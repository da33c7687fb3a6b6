"""What a migration needs to make the audit tables append-only.

    from alembic import op
    from auditspan.alembic import create_guards, drop_guards

    def upgrade() -> None:
        create_guards(op)

    def downgrade() -> None:
        drop_guards(op)

With `auditspan.autogenerate` imported, Alembic writes this by itself where it makes the tables. On
SQLite, add it again behind a batch migration of an audit table, which makes the table anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from sqlalchemy import Dialect, Executable, MetaData, Table

from auditspan.appendonly import creation, removal
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
        for statement in (*removal(table, dialect), *creation(table, dialect)):
            op.execute(statement)


def drop_guards(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Take the triggers away; until they are back, rows can be changed and removed."""
    dialect: Dialect = op.get_context().dialect
    for table in _append_only(schema):
        for statement in removal(table, dialect):
            op.execute(statement)


def _append_only(schema: str | None) -> Iterator[Table]:
    yield from audit_tables(MetaData(schema=schema)).append_only
