"""Discovery of auditspan's triggers in a database, without the models.

A migration may find tables that are no longer in the models, or have been renamed since.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Dialect, MetaData, Table, inspect, text
from sqlalchemy.exc import SAWarning

from auditspan.storage.audit_change import audit_change_table
from auditspan.storage.triggers import postgresql, sqlite
from auditspan.storage.triggers.postgresql_images import identifier
from auditspan.storage.triggers.staged_table import StagedTable, excluded_in

_POSTGRESQL = text(
    """
    SELECT c.relname AS name, p.prosrc AS source,
           CASE WHEN n.nspname = current_schema() THEN NULL ELSE n.nspname END AS schema
      FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
      JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE t.tgname = '00_auditspan_insert' AND starts_with(p.proname, 'auditspan_stage_')
       AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
     ORDER BY 3, 1
    """
)
_SQLITE = """
    SELECT tbl_name AS name, sql AS source, NULL AS schema FROM sqlite_master
     WHERE type = 'trigger' AND substr(name, 1, 10) = 'auditspan_' AND substr(name, -7) = '_insert'
       AND instr(sql, ' AFTER INSERT ') AND instr(sql, 'audit_change')
     ORDER BY 1
"""
_SQLITE_OF = """
    SELECT name FROM {schema}sqlite_master
     WHERE type = 'trigger' AND lower(tbl_name) = lower(?)
       AND substr(name, 1, 10) = 'auditspan_' AND instr(sql, 'audit_change')
"""


@dataclass(frozen=True, kw_only=True)
class TriggeredTable:
    """Table with auditspan's triggers.

    Attributes:
        name, schema: the table; the schema is None if it is the default one.
        excluded: the columns that its triggers exclude.
    """

    name: str
    schema: str | None
    excluded: frozenset[str]


def triggered_tables(connection: Connection) -> list[TriggeredTable]:
    """Return every table of the database with auditspan's triggers, except child tables."""
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_POSTGRESQL).all()
    else:
        rows = connection.exec_driver_sql(_SQLITE).all()
    return [
        TriggeredTable(name=row.name, schema=row.schema, excluded=excluded_in(row.source))
        for row in rows
    ]


def fitted(connection: Connection, staged: StagedTable) -> StagedTable:
    """Return the staged table, restricted to the columns that exist in the database."""
    table, schema = staged.table, connection.schema_for_object(staged.table)
    found = inspect(connection).get_columns(table.name, schema=schema)
    live = frozenset(column["name"] for column in found)
    absent = frozenset(column.name for column in table.columns) - live
    return replace(staged, excluded=staged.excluded & live, absent=absent)


def live_table(connection: Connection, table: Table) -> Table:
    """Return the table as in the models if its columns match the database, else as reflected.

    The models match the last revision, not the revision that is running.
    """
    found = inspect(connection).get_columns(table.name, schema=table.schema)
    if {column["name"] for column in found} == {column.name for column in table.columns}:
        return table
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # about indexes that cannot be reflected
        return Table(
            table.name,
            MetaData(),
            schema=table.schema,
            autoload_with=connection,
            resolve_fks=False,
        )


def removal_statements(
    name: str, schema: str | None, dialect: Dialect, connection: Connection | None
) -> list[str]:
    """Return the statements that drop auditspan's triggers of a table, and their unused functions.

    This works even if the table was renamed since. Without a connection, SQLite's triggers are
    named after its current name.
    """
    table = Table(name, MetaData(), schema=schema)
    if dialect.name == "postgresql":
        return [_postgresql_removal(table, dialect)]
    if connection is None:
        staged = StagedTable(table=table, staging=audit_change_table(MetaData()))
        return sqlite.trigger_removal(staged, dialect)
    prefix = f"{identifier(schema, dialect)}." if schema else ""
    found = connection.exec_driver_sql(_SQLITE_OF.format(schema=prefix), (name,)).scalars()
    return [f"DROP TRIGGER {prefix}{identifier(one, dialect)}" for one in found]


def _postgresql_removal(table: Table, dialect: Dialect) -> str:
    name = postgresql.quoted_text(dialect.identifier_preparer.format_table(table))
    return postgresql.do_block(
        f"audited CONSTANT regclass := to_regclass({name});\n"
        "    functions regprocedure[];\n    function regprocedure;\n"
        "    one record;\n    made record;",
        f"""
    functions := ARRAY(
        SELECT DISTINCT t.tgfoid::regprocedure
          FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
         WHERE t.tgrelid = audited AND (starts_with(p.proname, 'auditspan_stage_')
                                        OR starts_with(p.proname, 'auditspan_truncate_')));
    FOR one IN{postgresql.TREE}
    LOOP
        FOR made IN
            SELECT t.tgname FROM pg_catalog.pg_trigger t
             WHERE t.tgrelid = one.oid AND t.tgfoid::regprocedure = ANY (functions)
               AND (one.root OR NOT one.relispartition OR t.tgtype & 1 = 0)
        LOOP
            EXECUTE 'DROP TRIGGER ' || quote_ident(made.tgname) || ' ON ' || one.relation;
        END LOOP;
    END LOOP;
    FOREACH function IN ARRAY functions LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgfoid = function) THEN
            EXECUTE 'DROP FUNCTION ' || function;
        END IF;
    END LOOP;""",  # noqa: S608 (quoted names)
    )
