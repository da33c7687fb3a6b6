"""Function of the owner that removes the disclosures and keys of one subject, on PostgreSQL.

It runs with the privileges of the owner, so that the role of the application needs no DELETE: the
rows of one subject at a time are all that the role can remove, and `verify` reports a removal that
no event records.
"""

from __future__ import annotations

from sqlalchemy import Dialect, Table

from auditspan.storage.append_only.trigger import schema_prefix
from auditspan.storage.table_ddl import TableDdl, on_postgresql

FUNCTION = "auditspan_erase"
"""The function of the type and the id of a subject; one in each schema with a trail."""

_TYPES = "(text, text)"

# No percent signs, and no colon before a word: SQLAlchemy would treat them as parameters.
_CREATION = f"""DO $do$ DECLARE home text; BEGIN
    SELECT quote_ident(n.nspname) INTO home
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass('@table@');
    IF home IS NOT NULL THEN
        EXECUTE replace($create$
CREATE OR REPLACE FUNCTION @home@.{FUNCTION}{_TYPES} RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $erase$
BEGIN
    DELETE FROM @home@.audit_disclosure d WHERE d.subject_type = $1 AND d.subject_id = $2;
    DELETE FROM @home@.audit_subject_key k WHERE k.subject_type = $1 AND k.subject_id = $2;
END
$erase$;
REVOKE ALL ON FUNCTION @home@.{FUNCTION}{_TYPES} FROM PUBLIC
$create$, '@home@', home);
    END IF;
END $do$"""  # noqa: S608 (names of our own)


def _create(table: Table, dialect: Dialect) -> list[str]:
    name = dialect.identifier_preparer.format_table(table).replace("'", "''")
    return [_CREATION.replace("@table@", name)]


def _remove(table: Table, dialect: Dialect) -> list[str]:
    return [f"DROP FUNCTION IF EXISTS {schema_prefix(table, dialect)}{FUNCTION}{_TYPES}"]


ERASURE_FUNCTION = TableDdl(create=on_postgresql(_create), drop=on_postgresql(_remove))
"""The function; it is created if the table of keys exists."""
