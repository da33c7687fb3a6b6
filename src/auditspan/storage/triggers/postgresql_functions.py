"""PL/pgSQL functions that stage row images on PostgreSQL, and the drain.

Each staged row stores the ctid of the row staged before it (`prev`). A transaction-local setting
stores the transaction id, the last ctid and the number of rows, so that ROLLBACK TO SAVEPOINT
resets the end of the chain together with the rows. A value from another transaction counts as
empty.

The drain returns rows without removing them. A trigger of `audit_event` removes them at the next
INSERT of an audit row: if a role drains without recording, the rows are left to the worker.

The functions run as their owner, with every setting pinned that affects the text of a value. Their
source contains a placeholder for the name of the staging table: the schema is known only when the
function is created.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Dialect, Table

from auditspan.storage.triggers.postgresql_images import (
    ImageColumn,
    clear,
    clear_excluded,
    digest,
    image_columns,
    literal,
    measure_large,
    notes,
    shown_columns,
    take_image,
    tolerant,
)
from auditspan.storage.triggers.staged_table import StagedTable

CHAIN = "auditspan.chain"
"""The transaction-local setting: transaction id, last ctid, number of staged rows.

After a drain, and until another row is staged, also the word `drained`.
"""

CHAIN_BROKEN = "23Z02"
"""The SQLSTATE of a drain that cannot follow the chain."""

LONGEST_NAME = 63
"""PostgreSQL's limit on names, in bytes."""

PINNED = {
    "search_path": "pg_catalog, pg_temp",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
}
"""The settings of the functions that take images."""

PINNED_TRUNCATE = {**PINNED, "row_security": "off"}
"""`PINNED`, with an error if a row-level security policy would hide removed rows."""

PINNED_DRAIN = {
    "search_path": "pg_catalog, pg_temp",
    "enable_seqscan": "off",
    "enable_tidscan": "on",
    "plan_cache_mode": "force_generic_plan",
}
"""The settings of the drain: a table that was analyzed while empty must not be scanned."""

_DRAINED = (
    "id bigint, changed_at timestamptz, table_schema text, table_name text, operation text, "
    "old text, new text, role text, application text, client_address text"
)

_ROLE = (
    "session_user || CASE current_setting('role') WHEN 'none' THEN '' "
    "ELSE '/' || current_setting('role') END"
)


@dataclass(frozen=True, kw_only=True)
class Function:
    """Database function for staging.

    Attributes:
        name: its unquoted name, in the schema of the staging table.
        head: the part of CREATE FUNCTION between the name and the settings.
        settings: the settings that apply while it runs.
        source: its body, with NUL in place of the quoted name of the staging table.
    """

    name: str
    head: str
    settings: dict[str, str]
    source: str


def functions_of(staged: StagedTable, dialect: Dialect) -> tuple[Function, Function]:
    """Return the function of the row triggers and the function of the TRUNCATE trigger."""
    head = "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
    table, columns = staged.table, image_columns(staged, dialect)
    return (
        Function(
            name=_function_name("auditspan_stage", table),
            head=head,
            settings=PINNED,
            source=f"\n{staged.note}".rstrip() + _row_source(staged, columns, dialect),
        ),
        Function(
            name=_function_name("auditspan_truncate", table),
            head=head,
            settings=PINNED_TRUNCATE,
            source=_truncate_source(table, columns, dialect),
        ),
    )


def drain_function() -> Function:
    """Return the function that reads the rows staged by the current transaction."""
    return Function(
        name="auditspan_drain",
        head=f"(at_most integer) RETURNS TABLE ({_DRAINED}) LANGUAGE plpgsql SECURITY DEFINER",
        settings=PINNED_DRAIN,
        source=_DRAIN,
    )


def recorded_function() -> Function:
    """Return the trigger function of `audit_event` that removes drained rows."""
    return Function(
        name="auditspan_recorded",
        head="() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER",
        settings=PINNED_DRAIN,
        source=_RECORDED,
    )


def _row_source(staged: StagedTable, columns: list[ImageColumn], dialect: Dialect) -> str:
    cleared = "\n".join(clear_excluded(columns, dialect))
    large = [column for column in columns if not column.excluded]
    measure = "\n".join(measure_large(large, staged.discriminator, dialect))
    old, new = (take_image(record, columns) for record in ("OLD", "NEW"))
    return f"""
DECLARE
    old_image text;
    new_image text;
    old_long text;
    new_long text;
    same text;
    old_hidden text[];
    new_hidden text[];
{_CHAIN_VARIABLES}
BEGIN
{cleared}
{measure}
    IF TG_OP <> 'INSERT' THEN
{old}
    END IF;
    IF TG_OP <> 'DELETE' THEN
{new}
    END IF;
{_stage(staged.table, "TG_OP", "old_image", "new_image", dialect)}
    RETURN NULL;
END
"""


def _truncate_source(table: Table, columns: list[ImageColumn], dialect: Dialect) -> str:
    cleared = "\n".join(
        line for column in columns if column.excluded for line in clear("removed", column, dialect)
    )
    measured = [c for c in columns if c.measured and not c.excluded and not c.domain]
    measure = "\n".join(line for c in measured for line in digest("removed", c, dialect))
    return f"""
DECLARE
    removed record;
    removed_image text;
    removed_long text;
    removed_hidden text[];
    shown text := '*';
{_CHAIN_VARIABLES}
BEGIN
{shown_columns(columns, dialect)}
    FOR removed IN EXECUTE 'SELECT ' || shown || ' FROM ONLY ' || TG_RELID::regclass LOOP
        removed_long := NULL;
{cleared}
{tolerant(measure)}
        removed_image := row_to_json(removed)::text{notes("removed_long") if measured else ""};
{_stage(table, "'TRUNCATE'", "removed_image", "NULL", dialect)}
    END LOOP;
    RETURN NULL;
END
"""


_CHAIN_VARIABLES = f"""    xact CONSTANT xid8 := pg_current_xact_id();
    chain CONSTANT text := current_setting('{CHAIN}', true);
    last tid;
    count integer := 0;
    kept text;"""


def _stage(table: Table, operation: str, old: str, new: str, dialect: Dialect) -> str:
    schema = literal(table.schema, dialect) if table.schema else "NULL"
    return f"""    IF last IS NULL AND split_part(chain, ' ', 1) = xact::text THEN
        last := split_part(chain, ' ', 2)::tid;
        count := split_part(chain, ' ', 3)::integer;
    END IF;
    INSERT INTO \0 AS staged (xact_id, prev, table_schema, table_name, operation,
                              old, new, role, application, client_address)
    VALUES (xact, last, {schema}, {literal(table.name, dialect)}, {operation}, {old}, {new},
            {_ROLE},
            current_setting('application_name'), host(inet_client_addr()))
    RETURNING staged.ctid INTO last;
    count := count + 1;
    kept := set_config('{CHAIN}', xact::text || ' ' || last::text || ' ' || count::text, true);"""


_BROKEN = f"""
        IF NOT FOUND THEN
            RAISE EXCEPTION USING
                ERRCODE = '{CHAIN_BROKEN}',
                MESSAGE = 'the staged changes of this transaction are incomplete: there is no row '
                          || 'at ' || place || '; roll back',
                HINT = 'Find out what removed rows from audit_change or set {CHAIN}.';
        END IF;"""

_DRAIN = f"""
DECLARE
    xact CONSTANT xid8 := pg_current_xact_id_if_assigned();
    chain CONSTANT text := current_setting('{CHAIN}', true);
    last tid;
    place tid;
BEGIN
    IF xact IS NULL OR split_part(chain, ' ', 1) IS DISTINCT FROM xact::text THEN
        RETURN;
    END IF;
    IF split_part(chain, ' ', 3)::integer > at_most THEN
        RETURN NEXT;
        RETURN;
    END IF;
    last := split_part(chain, ' ', 2)::tid;
    WHILE last IS NOT NULL LOOP
        place := last;
        SELECT staged.id, staged.changed_at, staged.table_schema, staged.table_name,
               staged.operation, staged.old, staged.new, staged.role, staged.application,
               staged.client_address, staged.prev
          INTO id, changed_at, table_schema, table_name, operation, old, new, role, application,
               client_address, last
          FROM \0 AS staged WHERE staged.ctid = place AND staged.xact_id = xact;{_BROKEN}
        RETURN NEXT;
    END LOOP;
    PERFORM set_config(
        '{CHAIN}', array_to_string((string_to_array(chain, ' '))[1:3], ' ') || ' drained', true);
END
"""

_RECORDED = f"""
DECLARE
    xact CONSTANT xid8 := pg_current_xact_id();
    chain CONSTANT text := current_setting('{CHAIN}', true);
    last tid;
    place tid;
BEGIN
    IF split_part(chain, ' ', 4) IS DISTINCT FROM 'drained'
       OR split_part(chain, ' ', 1) <> xact::text THEN
        RETURN NULL;
    END IF;
    last := split_part(chain, ' ', 2)::tid;
    WHILE last IS NOT NULL LOOP
        place := last;
        DELETE FROM \0 AS staged WHERE staged.ctid = place AND staged.xact_id = xact
        RETURNING staged.prev INTO last;{_BROKEN}
    END LOOP;
    PERFORM set_config('{CHAIN}', '', true);
    RETURN NULL;
END
"""


def _function_name(prefix: str, table: Table) -> str:
    """Name a function after its table, with a hash if that would be ambiguous or too long."""
    plain = f"{prefix}_{table.name}"
    if not table.schema and len(plain.encode()) <= LONGEST_NAME:
        return plain
    full = "_".join(part for part in (prefix, table.schema, table.name) if part)
    digest = sha256(json.dumps([table.schema, table.name]).encode()).hexdigest()[:8]
    return f"{full.encode()[: LONGEST_NAME - 9].decode(errors='ignore')}_{digest}"
