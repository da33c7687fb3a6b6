"""Check that the database stages writes to audited tables, and repair it.

1. the table, its function and the triggers of every audited table exist and are enabled
2. no foreign trigger changes the order of staged changes
3. only tables that the models audit have our triggers
4. PostgreSQL: the connected role has the privileges that it needs, and cannot hide its writes
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, Table, inspect, text

from auditspan.capture import create_triggers, staged_tables, table_key
from auditspan.guards.interference import interference
from auditspan.storage import dialect_of, schema_in, translation_of
from auditspan.storage.triggers import (
    StagedTable,
    drain_problems,
    postgresql,
    removal_statements,
    sqlite,
    triggered_tables,
)

_RIGHTS = text(
    """
    SELECT current_user AS role, r.rolsuper AS is_superuser,
           EXISTS (SELECT FROM unnest(CAST(:tables AS text[])) name
                    WHERE has_table_privilege(to_regclass(name), 'INSERT, UPDATE, DELETE')
                       OR has_any_column_privilege(to_regclass(name), 'INSERT, UPDATE')) AS writes,
           ARRAY(SELECT name FROM unnest(CAST(:tables AS text[])) name
                   JOIN pg_class c ON c.oid = to_regclass(name)
                  WHERE pg_has_role(c.relowner, 'USAGE')) AS owned,
           (SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c
             WHERE c.oid = to_regclass(:event)) AS owns_trail,
           has_function_privilege(to_regprocedure(:drain), 'EXECUTE') AS drains,
           has_sequence_privilege(pg_get_serial_sequence(:staging, 'id'), 'USAGE') AS counts,
           has_table_privilege(to_regclass(:staging), 'INSERT, UPDATE, DELETE, TRUNCATE') AS hides,
           has_table_privilege(to_regclass(:leaf), 'INSERT') AS seals,
           has_table_privilege(to_regclass(:staging), 'SELECT')
               AND has_table_privilege(to_regclass(:staging), 'DELETE')
               AND has_any_column_privilege(to_regclass(:staging), 'UPDATE')
               AND has_any_column_privilege(to_regclass(:event), 'INSERT') AS takes
      FROM pg_roles r WHERE r.rolname = current_user
    """
)


_SQLITE_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
_TRIGGERS = text(
    "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND NOT tgisinternal"
)
_STORAGE = text(
    """
    SELECT c.relpersistence AS persistence, c.relreplident AS identity,
           EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid) AS indexes
      FROM pg_class c WHERE c.oid = to_regclass(:table)
    """
)


class StagingFinding(NamedTuple):
    """A problem with staging, and its subject."""

    kind: Literal["trigger", "foreign", "role", "setting"]
    detail: str


def check_staging(
    connection: Connection, staging: Table, event: Table, leaf: Table
) -> Iterator[StagingFinding]:
    """Yield the problems that keep writes from being staged, or changes from being recorded."""
    if not _has(connection, staging):
        yield StagingFinding(
            "trigger",
            f"Table {staging.name} does not exist, or this role cannot see it: writes to audited "
            "tables are not recorded. Migrate first, or run `auditspan db guard`.",
        )
        return
    staged = list(_present(connection, staging))
    for one in staged:
        yield from _triggers(connection, one)
    yield from _foreign(connection, staging)
    for what in _on_staging(connection, staging):
        yield StagingFinding(
            "foreign",
            f"There is a {what} on {staging.name} that is not auditspan's: it could keep changes "
            "out of the trail, or hide them. Drop it, and find out who created it.",
        )
    if connection.dialect.name == "postgresql":
        for problem in (
            *drain_problems(connection, staging),
            *_storage_problems(connection, staging),
        ):
            yield StagingFinding("trigger", _weak(problem))
        yield from _roles(connection, staged, staging, event, leaf)


def restore_staging(connection: Connection, staging: Table) -> None:
    """Create the table, function and triggers of this release; only the owner can."""
    staging.create(connection, checkfirst=True)
    if connection.dialect.name == "postgresql":
        for statement in postgresql.staging_statements(staging, dialect_of(connection)):
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


def _triggers(connection: Connection, staged: StagedTable) -> Iterator[StagingFinding]:
    of = postgresql if connection.dialect.name == "postgresql" else sqlite
    ours = of.trigger_differences(connection, staged)
    for problem in of.trigger_problems(connection, staged):
        if problem in ours:
            yield StagingFinding("trigger", _weak(problem))
        else:
            yield StagingFinding("foreign", f"Changes would be staged incorrectly: {problem}")


def _weak(problem: str) -> str:
    return (
        f"Writes may go unrecorded: {problem}. As the owner of the tables, run "
        "`auditspan db guard`, or `auditspan.guards.restore_guards` in your own application; find "
        "out who changed it, and run `auditspan verify --state`."
    )


def _foreign(connection: Connection, staging: Table) -> Iterator[StagingFinding]:
    tables = (staged.table for staged in staged_tables(staging.metadata))
    known = {(connection.schema_for_object(one), one.name) for one in tables}
    near = {schema for schema, _ in known} if translation_of(connection) else None
    for found in triggered_tables(connection) if known else ():  # else the models are not imported
        name = table_key(found.schema, found.name)
        if (near is None or found.schema in near) and (found.schema, found.name) not in known:
            yield StagingFinding(
                "setting",
                f"The table {name} has auditspan's triggers, but no model audits it: its changes "
                f"stay in {staging.name}. Audit it, or remove the triggers with "
                f"`auditspan.alembic.drop_triggers`.",
            )


def _on_staging(connection: Connection, staging: Table) -> list[str]:
    """Return the triggers, rules and row security of the staging table; none are ours."""
    name = dialect_of(connection).identifier_preparer.format_table(staging)
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(_SQLITE_TRIGGERS, (staging.name,)).scalars().all()
    else:
        rows = connection.scalars(_TRIGGERS, {"table": name}).all()
    return [*(f"trigger {row}" for row in rows), *interference(connection, name)]


def _storage_problems(connection: Connection, staging: Table) -> Iterator[str]:
    name = dialect_of(connection).identifier_preparer.format_table(staging)
    found = connection.execute(_STORAGE, {"table": name}).one()
    if found.persistence != "p":
        yield f"table {staging.name} is not logged, so that a crash empties it: SET LOGGED"
    if found.indexes:
        yield f"table {staging.name} has an index, which fails SERIALIZABLE transactions: drop it"
    if found.identity != "f":
        yield f"table {staging.name} is not REPLICA IDENTITY FULL: a publication refuses commits"


def _roles(
    connection: Connection, staged: list[StagedTable], staging: Table, event: Table, leaf: Table
) -> Iterator[StagingFinding]:
    quoted = dialect_of(connection).identifier_preparer
    home = schema_in(dialect_of(connection), staging)
    schema = f"{quoted.quote_identifier(home)}." if home else ""
    names = {
        "tables": [_plain(quoted.format_table(one.table), connection) for one in staged],
        "staging": quoted.format_table(staging),
        "event": quoted.format_table(event),
        "leaf": quoted.format_table(leaf),
        "drain": f"{schema}auditspan_drain(integer)",
    }
    found = connection.execute(_RIGHTS, names).one()
    if not found.is_superuser:  # no privilege restricts it; another finding reports it
        for sentence in _wrong_rights(found, staging):
            yield StagingFinding("role", sentence)


def _wrong_rights(found: Row[Any], staging: Table) -> Iterator[str]:
    grants = "Grant and revoke as deploy/postgres/grants.sql does."
    if found.writes and not (found.drains and found.counts):
        what = "EXECUTE auditspan_drain" if not found.drains else "USE the sequence of its id"
        yield (
            f"The role {found.role} writes to audited tables, but may not {what}: its commits are "
            f"refused. {grants}"
        )
    if found.owned and not found.owns_trail:  # reported by another finding
        yield (
            f"The role {found.role} owns {', '.join(found.owned)}, or has the rights of the owner: "
            "it could switch off the triggers that record its writes. Connect as another role."
        )
    elif found.writes and found.hides and not found.owns_trail:
        yield (
            f"The role {found.role} writes to audited tables and may change {staging.name}: it "
            f"could hide what it writes. {grants}"
        )
    if found.seals and not found.writes and not found.takes:
        yield (
            f"The role {found.role} seals the trail, but may not record the changes of other "
            f"programs, which wait in {staging.name}. {grants}"
        )


def _plain(name: str, connection: Connection) -> str:
    """Undo the doubling of percent signs in SQL for the driver."""
    is_doubled = connection.dialect.paramstyle in {"format", "pyformat"}
    return name.replace("%%", "%") if is_doubled else name
