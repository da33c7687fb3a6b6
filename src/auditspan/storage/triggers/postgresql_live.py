"""Discovery and removal of auditspan's triggers in PostgreSQL, without the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Row, Table, text

from auditspan.storage.triggers.postgresql_blocks import TREE, do_block, quoted_text

_TRIGGERED = text(
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


def triggered_rows(connection: Connection) -> Sequence[Row[Any]]:
    """Read the tables from the catalog, without partitions and child tables."""
    return connection.execute(_TRIGGERED).all()


def removal_statements(table: Table, dialect: Dialect, _connection: Connection | None) -> list[str]:
    """Return a block that finds the triggers by their functions."""
    name = quoted_text(dialect.identifier_preparer.format_table(table))
    block = do_block(
        f"audited CONSTANT regclass := to_regclass({name});\n"
        "    functions regprocedure[];\n    function regprocedure;\n"
        "    one record;\n    made record;",
        f"""
    functions := ARRAY(
        SELECT DISTINCT t.tgfoid::regprocedure
          FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
         WHERE t.tgrelid = audited AND (starts_with(p.proname, 'auditspan_stage_')
                                        OR starts_with(p.proname, 'auditspan_truncate_')));
    FOR one IN{TREE}
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
    END LOOP;""",
    )
    return [block]
