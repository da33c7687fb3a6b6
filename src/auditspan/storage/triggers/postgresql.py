"""Staging of row images on PostgreSQL 13 and later: functions and triggers.

Triggers of an audited table, in the order in which PostgreSQL fires them:

    00_auditspan_insert, 00_auditspan_update, 00_auditspan_delete
        AFTER, for each row. The names sort before the application's, whose AFTER triggers may write
        to the same row: otherwise images would be staged in reverse order.
    zz_auditspan_truncate
        BEFORE TRUNCATE, for the statement; it stages each remaining row. The name sorts after the
        application's, whose BEFORE triggers may still change rows.

All are ENABLE ALWAYS: `session_replication_role` does not disable them, and a logical replication
subscriber stages the changes that it applies. PostgreSQL copies row triggers to partitions, but not
TRUNCATE triggers, and copies none to inheritance children: `trigger_statements` covers existing
ones, `trigger_problems` reports those that were added since.

Execute each statement with `Connection.exec_driver_sql`: percent signs in names are doubled if the
driver requires it. Unqualified names are resolved with the search path when a statement runs.
"""

from __future__ import annotations

from sqlalchemy import Connection, Dialect, Table

from auditspan.storage.schemas import schema_in
from auditspan.storage.triggers.postgresql_blocks import TREE, do_block, quoted_text
from auditspan.storage.triggers.postgresql_functions import (
    PINNED,
    Function,
    drain_function,
    functions_of,
    recorded_function,
)
from auditspan.storage.triggers.postgresql_images import identifier, literal
from auditspan.storage.triggers.postgresql_live import removal_statements, triggered_rows
from auditspan.storage.triggers.postgresql_problems import (
    drain_problems,
    trigger_differences,
    trigger_problems,
)
from auditspan.storage.triggers.postgresql_triggers import RECORDED, TRIGGERS, Trigger
from auditspan.storage.triggers.staged_table import StagedTable

__all__ = [
    "SURVIVES_ALTER",
    "drain_problems",
    "pin_settings",
    "recorded_trigger",
    "removal_after_drop",
    "removal_statements",
    "staging_removal",
    "staging_statements",
    "trigger_differences",
    "trigger_problems",
    "trigger_removal",
    "trigger_statements",
    "triggered_rows",
]

SURVIVES_ALTER = True


def staging_statements(staging: Table, dialect: Dialect) -> list[str]:
    """Return the statements to run after creating the staging table and `audit_event`.

    They drop the primary key of the staging table (with it, SERIALIZABLE transactions on different
    rows would fail), publish whole rows, and revoke access from PUBLIC. PUBLIC cannot execute the
    drain either: grant EXECUTE on it to the roles of the application. On `audit_event`, if it
    exists, they create the trigger that removes drained rows.
    """
    table = dialect.identifier_preparer.format_table(staging)
    return [
        do_block(
            "one record;",
            f"""
    FOR one IN SELECT conname FROM pg_catalog.pg_constraint
                WHERE conrelid = {quoted_text(table)}::regclass AND contype = 'p' LOOP
        EXECUTE 'ALTER TABLE ' || {quoted_text(table)} || ' DROP CONSTRAINT '
            || quote_ident(one.conname);
    END LOOP;""",
        ),
        f"ALTER TABLE {table} REPLICA IDENTITY FULL",
        f"REVOKE ALL ON TABLE {table} FROM PUBLIC",
        _function_creation([drain_function()], "(integer)", staging, dialect),
        _function_creation([recorded_function()], "()", staging, dialect),
        recorded_trigger(staging, dialect),
    ]


def recorded_trigger(staging: Table, dialect: Dialect) -> str:
    """Return the block that creates the trigger of `audit_event`, if both tables exist."""
    event = "home || '.audit_event"
    return do_block(
        "home text;\n    staging text;",
        f"""{_home(staging, dialect)}
    IF to_regclass({event}') IS NOT NULL THEN
        EXECUTE 'DROP TRIGGER IF EXISTS {RECORDED} ON ' || {event}';
        EXECUTE 'CREATE TRIGGER {RECORDED} AFTER INSERT ON ' || {event}'
            || ' FOR EACH STATEMENT EXECUTE FUNCTION ' || home || '.auditspan_recorded()';
        EXECUTE 'ALTER TABLE ' || {event} ENABLE ALWAYS TRIGGER {RECORDED}';
    END IF;""",
    )


def staging_removal(staging: Table, dialect: Dialect) -> list[str]:
    """Return the statements that drop the drain and the trigger of `audit_event`.

    They can run before or after dropping the staging table.
    """
    return [
        _function_removal([drain_function()], "(integer)", staging, dialect),
        _function_removal([recorded_function()], "() CASCADE", staging, dialect),
    ]


def trigger_statements(staged: StagedTable, dialect: Dialect) -> list[str]:
    """Return the statements that create or replace the functions and triggers of a table.

    On partitions they create the TRUNCATE trigger, and on inheritance children all triggers, unless
    these tables are staged separately.
    """
    return [
        _function_creation(functions_of(staged, dialect), "()", staged.staging, dialect),
        _trigger_creation(staged, dialect),
    ]


def trigger_removal(staged: StagedTable, dialect: Dialect) -> list[str]:
    """Return the statements that drop the triggers and functions of a table, if they exist."""
    return [
        _trigger_drop(staged, dialect),
        _function_removal(functions_of(staged, dialect), "()", staged.staging, dialect),
    ]


removal_after_drop = trigger_removal
"""PostgreSQL drops triggers with their table, but not functions."""


def pin_settings(connection: Connection) -> None:
    """Pin the settings of the functions that take images."""
    for name, value in PINNED.items():
        if name != "search_path":
            connection.exec_driver_sql(f"SET LOCAL {name} = '{value}'")


def _trigger_creation(staged: StagedTable, dialect: Dialect) -> str:
    each = "\n".join(_replace_trigger(trigger, staged, dialect) for trigger in TRIGGERS)
    table = dialect.identifier_preparer.format_table(staged.table)
    return do_block(
        f"audited CONSTANT regclass := {quoted_text(table)}::regclass;\n"
        "    home text;\n    staging text;\n    one record;",
        f"""
{_home(staged.staging, dialect)}
    FOR one IN{TREE}
    LOOP{each}
    END LOOP;""",
    )


def _replace_trigger(trigger: Trigger, staged: StagedTable, dialect: Dialect) -> str:
    name = identifier(trigger.name, dialect)
    function = identifier(trigger.function(staged, dialect).name, dialect)
    full = f"home || {quoted_text('.' + function + '()')}"
    wanted = "one.root OR NOT one.relispartition" if trigger.row else "true"
    return f"""
        IF ({wanted}) AND (one.root OR NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = one.oid
               AND tgname = '{trigger.name}' AND tgfoid <> ({full})::regprocedure)) THEN
            EXECUTE 'DROP TRIGGER IF EXISTS {name} ON ' || one.relation;
            EXECUTE 'CREATE TRIGGER {name} {trigger.event} ON ' || one.relation
                || ' {trigger.rest} EXECUTE FUNCTION ' || {full};
            EXECUTE 'ALTER TABLE ' || one.relation || ' ENABLE ALWAYS TRIGGER {name}';
        END IF;"""


def _trigger_drop(staged: StagedTable, dialect: Dialect) -> str:
    table = dialect.identifier_preparer.format_table(staged.table)
    names = ", ".join(literal(f.name, dialect) for f in functions_of(staged, dialect))
    return do_block(
        f"audited CONSTANT regclass := to_regclass({quoted_text(table)});\n"
        "    one record;\n    made record;",
        f"""
    FOR one IN{TREE}
    LOOP
        FOR made IN
            SELECT t.tgname FROM pg_catalog.pg_trigger t
              JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
             WHERE t.tgrelid = one.oid AND p.proname IN ({names})
               AND (one.root OR NOT one.relispartition OR t.tgtype & 1 = 0)
        LOOP
            EXECUTE 'DROP TRIGGER ' || quote_ident(made.tgname) || ' ON ' || one.relation;
        END LOOP;
    END LOOP;""",
    )


def _function_creation(
    functions: list[Function] | tuple[Function, ...],
    signature: str,
    staging: Table,
    dialect: Dialect,
) -> str:
    lines = [_home(staging, dialect)]
    for function in functions:
        full = f"home || {quoted_text('.' + identifier(function.name, dialect))}"
        settings = " ".join(f"SET {key} = {value}" for key, value in _settings(function))
        source = " || staging || ".join(quoted_text(part) for part in function.source.split("\0"))
        lines += [
            f"    EXECUTE 'CREATE OR REPLACE FUNCTION ' || {full} || {quoted_text(function.head)}",
            f"        || {quoted_text(f' {settings} AS ')} || quote_literal({source});",
            f"    EXECUTE 'REVOKE ALL ON FUNCTION ' || {full} || '{signature} FROM PUBLIC';",
        ]
    return do_block("home text;\n    staging text;", "\n".join(lines))


def _function_removal(
    functions: list[Function] | tuple[Function, ...],
    signature: str,
    staging: Table,
    dialect: Dialect,
) -> str:
    drops = "\n".join(
        "    EXECUTE 'DROP FUNCTION IF EXISTS ' || home || "
        f"{quoted_text('.' + identifier(function.name, dialect) + signature)};"
        for function in functions
    )
    name = schema_in(dialect, staging)
    schema = literal(name, dialect) if name else "current_schema()"
    return do_block(
        "home text;\n    staging text;",
        f"{_home(staging, dialect)}\n    home := coalesce(home, quote_ident({schema}));\n{drops}",
    )


def _settings(function: Function) -> list[tuple[str, str]]:
    """Quote the values of settings; a search path is a list of names."""
    return [
        (key, value if key == "search_path" else f"'{value}'")
        for key, value in function.settings.items()
    ]


def _home(staging: Table, dialect: Dialect) -> str:
    """Return the PL/pgSQL that looks up the schema and the full name of the staging table."""
    table = dialect.identifier_preparer.format_table(staging)
    full = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
    return f"""    SELECT quote_ident(n.nspname), {full} INTO home, staging
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass({quoted_text(table)});"""
