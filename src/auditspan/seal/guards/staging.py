"""Check that the database stages writes to audited tables, and repair it.

1. the table, its function and the triggers of every audited table exist and are enabled
2. no foreign trigger changes the order of staged changes
3. only tables that the models audit have our triggers
4. the database's own conditions, such as the privileges of the connected role (`DialectGuards`)
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Table, inspect

from auditspan.capture import create_triggers, staged_tables, table_key
from auditspan.seal.guards.dialects import GUARDS
from auditspan.seal.guards.finding import Finding, unrecorded
from auditspan.storage import AuditTables, dialect_of, staging_of, translation_of
from auditspan.storage.triggers import TRIGGERS, StagedTable, removal_statements, triggered_tables


def check_staging(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    """Yield the problems that keep writes from being staged, or changes from being recorded."""
    staging = staging_of(tables.event.metadata)
    if staging is None:
        return
    if not _has(connection, staging):
        detail = (
            f"Table {staging.name} does not exist, or this role cannot see it: writes to audited "
            "tables are not recorded. Migrate first, or run `auditspan db guard`."
        )
        yield Finding(kind="trigger", detail=detail)
        return
    staged = list(_present(connection, staging))
    for one in staged:
        yield from _triggers(connection, one)
    yield from _foreign(connection, staging)
    yield from _on_staging(connection, staging)
    for problem in TRIGGERS.of(connection).drain_problems(connection, staging):
        yield Finding(kind="trigger", detail=unrecorded(problem))
    yield from GUARDS.of(connection).staging_findings(connection, staging, tables, staged)


def restore_staging(connection: Connection, staging: Table) -> None:
    """Create the table, function and triggers of this release; only the owner can."""
    staging.create(connection, checkfirst=True)
    dialect = dialect_of(connection)
    for statement in TRIGGERS.of(dialect).staging_statements(staging, dialect):
        connection.exec_driver_sql(statement)
    for one in _present(connection, staging):
        table = one.table
        for statement in removal_statements(
            table.name, connection.schema_for_object(table), connection.dialect, connection
        ):
            connection.exec_driver_sql(statement)
        create_triggers(connection, one)


def _present(connection: Connection, staging: Table) -> Iterator[StagedTable]:
    for staged in staged_tables(staging.metadata):
        if _has(connection, staged.table):
            yield staged


def _has(connection: Connection, table: Table) -> bool:
    return inspect(connection).has_table(table.name, schema=connection.schema_for_object(table))


def _triggers(connection: Connection, staged: StagedTable) -> Iterator[Finding]:
    of = TRIGGERS.of(connection)
    ours = of.trigger_differences(connection, staged)
    for problem in of.trigger_problems(connection, staged):
        if problem in ours:
            yield Finding(kind="trigger", detail=unrecorded(problem))
        else:
            yield Finding(kind="foreign", detail=f"Changes would be staged incorrectly: {problem}")


def _on_staging(connection: Connection, staging: Table) -> Iterator[Finding]:
    """Yield the triggers, rules and row security of the staging table; none are ours."""
    of = GUARDS.of(connection)
    name = dialect_of(connection).identifier_preparer.format_table(staging)
    triggers = (f"trigger {one}" for one in of.triggers_on(connection, staging, name))
    for what in (*triggers, *of.interference(connection, name)):
        detail = (
            f"There is a {what} on {staging.name} that is not auditspan's: it could keep changes "
            "out of the trail, or hide them. Drop it, and find out who created it."
        )
        yield Finding(kind="foreign", detail=detail)


def _foreign(connection: Connection, staging: Table) -> Iterator[Finding]:
    tables = (staged.table for staged in staged_tables(staging.metadata))
    known = {(connection.schema_for_object(one), one.name) for one in tables}
    near = {schema for schema, _ in known} if translation_of(connection) else None
    for found in triggered_tables(connection) if known else ():  # else the models are not imported
        name = table_key(found.schema, found.name)
        if (near is None or found.schema in near) and (found.schema, found.name) not in known:
            yield Finding(
                kind="setting",
                detail=f"The table {name} has auditspan's triggers, but no model audits it: its "
                f"changes stay in {staging.name}. Audit it, or remove the triggers with "
                f"`auditspan.alembic.drop_triggers`.",
            )
