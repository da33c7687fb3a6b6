"""Alembic operations that make the audit tables append-only and stage changes.

    from alembic import op
    from auditspan.alembic import create_guards, drop_guards

    def upgrade() -> None:
        create_guards(op)

    def downgrade() -> None:
        drop_guards(op)

`partition_audit_event(op)` turns `audit_event` into a table that is partitioned by month, on
PostgreSQL; docs/how-to/partition-the-trail.md explains when to do so, and what changes.

With `auditspan.alembic.autogenerate` imported, Alembic generates this where it creates the tables.
On SQLite, call `drop_guards` before a batch migration of an audit table, which creates the table
again, and `create_guards` after it.

If changes are captured by triggers, Alembic generates these as well:

    create_staging(op)                                  # after the table audit_change
    create_triggers(op, "customer", exclude=["iban"])   # again when the table or its policy changes
    drop_triggers(op, "customer")
    drop_staging(op)

If `env.py` imports the trail, triggers are also created again at the end of every migration that
has changed a table, by any means. The writes of a migration are recorded as one
`migration.statement` for each table and operation; `with record_rows():` records them row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from sqlalchemy import DDL, Connection, Dialect, Executable, MetaData, Table

from auditspan.capture import busy, discriminator_of, drain_first, pin, target_metadata
from auditspan.storage import (
    ERASURE_FUNCTION,
    PARTITIONS,
    SEARCH_TERMS,
    audit_change_table,
    audit_tables,
    creation,
    purge_removal,
    removal,
)
from auditspan.storage.triggers import (
    TRIGGERS,
    StagedTable,
    fitted,
    live_table,
    removal_statements,
)


class MigrationOperations(Protocol):
    """The used part of `alembic.op`, with a database or with `--sql`."""

    def get_context(self) -> Any:  # noqa: ANN401 (Alembic's MigrationContext, which we do not import)
        """Return the context with its `dialect`."""

    def execute(self, sqltext: Executable | str) -> None:
        """Run a statement, or print it."""


def create_guards(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Create the triggers of this release on the audit tables, replacing existing ones.

    On PostgreSQL, create the index of search terms as well, unless it exists, and the function
    that erases a subject.
    """
    dialect: Dialect = op.get_context().dialect
    for table in _append_only(schema):
        guards = PARTITIONS.of(dialect).guard_partitions(table, dialect)
        _execute(op, (*removal(table, dialect), *creation(table, dialect), *guards))
    create_search_terms(op, schema=schema)
    create_erasure(op, schema=schema)


def create_erasure(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Create the function that erases a subject, on PostgreSQL, after its tables."""
    key, dialect = audit_tables(MetaData(schema=schema)).subject_key, op.get_context().dialect
    _execute(op, ERASURE_FUNCTION.creation(key, dialect))


def drop_erasure(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Drop the function that erases a subject."""
    key, dialect = audit_tables(MetaData(schema=schema)).subject_key, op.get_context().dialect
    _execute(op, ERASURE_FUNCTION.removal(key, dialect))


def create_search_terms(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Create the index of search terms and its function, on PostgreSQL, unless they exist."""
    event, dialect = audit_tables(MetaData(schema=schema)).event, op.get_context().dialect
    _execute(op, SEARCH_TERMS.creation(event, dialect))


def drop_search_terms(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Drop the index of search terms and its function."""
    event, dialect = audit_tables(MetaData(schema=schema)).event, op.get_context().dialect
    _execute(op, SEARCH_TERMS.removal(event, dialect))


def drop_guards(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Drop the triggers; until they are created again, rows can be changed and removed."""
    dialect: Dialect = op.get_context().dialect
    drop_search_terms(op, schema=schema)
    drop_erasure(op, schema=schema)
    for table in _append_only(schema):
        unguard = PARTITIONS.of(dialect).unguard_partitions(table, dialect)
        without = (*removal(table, dialect), *purge_removal(table, dialect))
        _execute(op, (*unguard, *without))


def partition_audit_event(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Partition `audit_event` by month; the existing table becomes the first partition, in place.

    Only the owner of the tables can. It takes an ACCESS EXCLUSIVE lock, and reads the table twice
    unless that was prepared. If the table is already partitioned, its functions, privileges and
    guards are created again.

    Raises:
        AuditConfigError: the database is not PostgreSQL.
    """
    tables = audit_tables(MetaData(schema=schema))
    dialect: Dialect = op.get_context().dialect
    with _own(op):
        _execute(op, PARTITIONS.of(dialect).partitioning(tables.event, tables.leaf, dialect))


def create_staging(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Prepare `audit_change`, and create its drain function; after it and `audit_event`.

    On PostgreSQL, the role of the application needs EXECUTE on `auditspan_drain(integer)`, and
    USAGE on the sequence of `audit_change.id`; docs/how-to/guard-the-tables.md lists all
    privileges.
    """
    dialect: Dialect = op.get_context().dialect
    staging = audit_change_table(MetaData(schema=schema))
    _run(op, TRIGGERS.of(dialect).staging_statements(staging, dialect))


def drop_staging(op: MigrationOperations, *, schema: str | None = None) -> None:
    """Drop the drain function of `audit_change`, before the table is dropped.

    Changes that this transaction has written so far are recorded first.
    """
    connection, dialect = _connection(op), op.get_context().dialect
    if connection is not None:
        drain_first(connection)
    staging = audit_change_table(MetaData(schema=schema))
    _run(op, TRIGGERS.of(dialect).staging_removal(staging, dialect))


def create_triggers(
    op: MigrationOperations,
    table: str,
    *,
    exclude: Collection[str] = (),
    schema: str | None = None,
    staging_schema: str | None = None,
) -> None:
    """Create the triggers that stage the changes of a table, replacing existing ones.

    They are created for the current columns of the table; if the target metadata of `env.py` does
    not have the table, it is read from the database.

    Args:
        op: `alembic.op`.
        table: the audited table.
        exclude: the columns that its policy excludes, and unmapped columns.
        schema: the schema of the table.
        staging_schema: the schema of `audit_change`.

    Raises:
        AuditConfigError: with `--sql` on SQLite, the target metadata does not have the table.
    """
    connection, dialect = _connection(op), op.get_context().dialect
    staged = StagedTable(
        table=_table(op, table, schema),
        staging=audit_change_table(MetaData(schema=staging_schema)),
        excluded=frozenset(exclude),
        discriminator=_discriminator(op, table, schema),
    )
    _run(op, removal_statements(table, schema, dialect, connection))
    if connection is not None:
        pin(connection, staged.table, staged.excluded)
        staged = fitted(connection, staged)
    _run(op, TRIGGERS.of(dialect).trigger_statements(staged, dialect))


def drop_triggers(op: MigrationOperations, table: str, *, schema: str | None = None) -> None:
    """Drop the triggers that stage the changes of a table, and functions no longer needed."""
    connection = _connection(op)
    _run(op, removal_statements(table, schema, op.get_context().dialect, connection))
    if connection is not None:
        pin(connection, Table(table, MetaData(), schema=schema), None)


def _execute(op: MigrationOperations, statements: Iterable[DDL]) -> None:
    for statement in statements:
        op.execute(statement)


def _connection(op: MigrationOperations) -> Connection | None:
    """Return the connection that is migrated; None with `--sql`."""
    context = op.get_context()
    return None if context.as_sql else context.bind


def _table(op: MigrationOperations, name: str, schema: str | None) -> Table:
    """Return the table from the models, else from the database."""
    found = _in_models(op, name, schema)
    connection = _connection(op)
    if connection is not None:
        empty = Table(name, MetaData(), schema=schema)
        return live_table(connection, empty if found is None else found)
    return Table(name, MetaData(), schema=schema) if found is None else found


def _in_models(op: MigrationOperations, name: str, schema: str | None) -> Table | None:
    key = f"{schema}.{name}" if schema else name
    metadatas = target_metadata(op.get_context().opts)
    return next((one.tables[key] for one in metadatas if key in one.tables), None)


def _discriminator(op: MigrationOperations, name: str, schema: str | None) -> str | None:
    found = _in_models(op, name, schema)
    return None if found is None else discriminator_of(found)


def _run(op: MigrationOperations, statements: Sequence[str]) -> None:
    """Execute driver SQL, in which percent signs are doubled if the driver requires it."""
    dialect = op.get_context().dialect
    with _own(op):
        for statement in statements:
            is_doubled = dialect.paramstyle in {"format", "pyformat"}
            escaped = statement if is_doubled else statement.replace("%", "%%")
            op.execute(DDL(escaped))  # type: ignore[no-untyped-call]


def _own(op: MigrationOperations) -> AbstractContextManager[None]:
    """Mark statements inside the block as auditspan's own, not writes of the migration."""
    connection = _connection(op)
    return nullcontext() if connection is None else busy(connection)


def _append_only(schema: str | None) -> Iterator[Table]:
    yield from audit_tables(MetaData(schema=schema)).append_only
