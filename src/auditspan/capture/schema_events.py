"""Hooks of `create_all` and `drop_all`, which create and drop triggers with their tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, MetaData, Table, event

from auditspan.capture.altered import drain_first
from auditspan.capture.open_transaction import busy, open_transaction
from auditspan.capture.triggers import create_all_triggers
from auditspan.mapping import AuditedTable, LinkTable, subject_of
from auditspan.storage import dialect_of, staging_of
from auditspan.storage.triggers import TRIGGERS, StagedTable


@event.listens_for(MetaData, "before_create")
def _before_create(_metadata: MetaData, connection: Connection, **_options: object) -> None:
    """Ignore the writes of `create_all` itself; the triggers do not exist yet."""
    if _is_database(connection):
        open_transaction(connection).is_creating = True


@event.listens_for(Table, "after_create")
def _after_create_table(table: Table, connection: Connection, **_options: object) -> None:
    """Create triggers for a table that is created by itself."""
    if _is_database(connection) and not open_transaction(connection).is_busy:
        with busy(connection):
            create_all_triggers(table.metadata, connection, [table])


@event.listens_for(MetaData, "before_drop")
def _before_drop(_metadata: MetaData, connection: Connection, **_options: object) -> None:
    """Record what was staged so far, and ignore the writes of `drop_all` itself."""
    if _is_database(connection):
        drain_first(connection)
        open_transaction(connection).is_creating = True


@event.listens_for(MetaData, "after_drop")
def _after_drop(_metadata: MetaData, connection: Connection, **_options: object) -> None:
    if _is_database(connection):
        open_transaction(connection).is_creating = False


@event.listens_for(Table, "after_drop")
def _after_drop_table(table: Table, connection: Connection, **_options: object) -> None:
    """Drop functions, which may outlast the triggers."""
    staging = staging_of(table.metadata)
    if staging is None or not _is_database(connection):
        return
    dialect = dialect_of(connection)
    statements: Sequence[str] = ()
    if table is staging:
        statements = TRIGGERS.of(dialect).staging_removal(staging, dialect)
    elif isinstance(subject_of(table), AuditedTable | LinkTable):
        staged = StagedTable(table=table, staging=staging)
        statements = TRIGGERS.of(dialect).removal_after_drop(staged, dialect)
    with busy(connection):
        for statement in statements:
            connection.exec_driver_sql(statement)
    if table is staging:
        open_transaction(connection).written.discard(staging.metadata)


@event.listens_for(MetaData, "after_create")
def _after_create(
    metadata: MetaData, connection: Connection, *, tables: Collection[Table], **_options: object
) -> None:
    """Create triggers for the tables that `create_all` creates."""
    if not _is_database(connection):
        return
    try:
        create_all_triggers(metadata, connection, tables)
    finally:
        open_transaction(connection).is_creating = False


def _is_database(connection: object) -> bool:
    """Return whether statements go to a database and are not printed (offline mode)."""
    return isinstance(connection, Connection)
