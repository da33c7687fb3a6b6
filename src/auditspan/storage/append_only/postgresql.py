"""Append-only tables on PostgreSQL: BEFORE triggers of one function.

BEFORE UPDATE OR DELETE fires for each row, BEFORE TRUNCATE for the statement. All are ENABLE
ALWAYS, so that `session_replication_role` does not switch them off. The row trigger of
`audit_event` has a function of its own, which lets authorised purges through (`postgresql_purge`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Dialect, Table

from auditspan.storage.append_only import postgresql_purge
from auditspan.storage.append_only.trigger import PURGED, Trigger, schema_prefix

REFUSE_FUNCTION = "auditspan_refuse_change"
"""The function called by the triggers; one in each schema with audit tables."""

SQLSTATE = "23Z01"
"""The SQLSTATE of a refusal: class 23, so that drivers raise IntegrityError as on SQLite, with a
subclass of our own."""

REFUSE_SOURCE = f"""
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = '{SQLSTATE}',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' is refused, on purpose',
        HINT = 'Rows of an audit trail are never changed or removed, not by the owner either.';
END
"""


def definitions(table: Table, dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Yield the triggers for rows and for TRUNCATE."""
    call = f"EXECUTE FUNCTION {schema_prefix(table, dialect)}"
    full = _full(table, dialect)
    of_rows = f"FOR EACH ROW {call}{row_function(table)}()"
    yield "append_only", f"BEFORE UPDATE OR DELETE ON {full} {of_rows}"
    yield "no_truncate", f"BEFORE TRUNCATE ON {full} FOR EACH STATEMENT {call}{REFUSE_FUNCTION}()"


def row_function(table: Table) -> str:
    """Return the function that the row trigger of a table calls."""
    return postgresql_purge.REFUSE_UNLESS_PURGED if table.name == PURGED else REFUSE_FUNCTION


def row_source(table: Table) -> str:
    """Return the source of that function, with `@schema@` in place of the quoted schema."""
    sources = {one.name: one.source for one in postgresql_purge.FUNCTIONS}
    return sources.get(row_function(table), REFUSE_SOURCE)


def create_trigger(trigger: Trigger, _dialect: Dialect) -> str:
    """Return the statement; the definition has the schema, which qualifies the table."""
    return f"CREATE TRIGGER {trigger.name} {trigger.definition}"


def drop_trigger(trigger: Trigger, dialect: Dialect) -> str:
    """Return the statement."""
    return f"DROP TRIGGER IF EXISTS {trigger.name} ON {_full(trigger.table, dialect)}"


def creation(table: Table, triggers: Sequence[Trigger], dialect: Dialect) -> list[str]:
    """Return the statements for the functions, and for triggers that fire always."""
    always = f"ALTER TABLE {_full(table, dialect)} ENABLE ALWAYS TRIGGER"
    return [
        _create_function(table, dialect),
        *([postgresql_purge.creation(table, dialect)] if table.name == PURGED else []),
        *(create_trigger(trigger, dialect) for trigger in triggers),
        *(f"{always} {trigger.name}" for trigger in triggers),
    ]


def function_removal(table: Table, dialect: Dialect) -> list[str]:
    """Return a block that tolerates other triggers of the function."""
    function = f"{schema_prefix(table, dialect)}{REFUSE_FUNCTION}()"
    drop = f"DROP FUNCTION IF EXISTS {function}"
    tolerated = "EXCEPTION WHEN dependent_objects_still_exist THEN NULL"
    return [f"DO $drop$ BEGIN {drop}; {tolerated}; END $drop$"]


def purge_removal(table: Table, dialect: Dialect) -> list[str]:
    """Return the statements that drop the functions of purges, with the rights to execute them."""
    return [postgresql_purge.removal(table, dialect)] if table.name == PURGED else []


def _create_function(table: Table, dialect: Dialect) -> str:
    # A fixed search path, so that the `||` operator cannot be replaced.
    return (
        f"CREATE OR REPLACE FUNCTION {schema_prefix(table, dialect)}{REFUSE_FUNCTION}()"
        " RETURNS trigger "
        f"LANGUAGE plpgsql SET search_path = pg_catalog AS $refuse${REFUSE_SOURCE}$refuse$"
    )


def _full(table: Table, dialect: Dialect) -> str:
    return dialect.identifier_preparer.format_table(table)
