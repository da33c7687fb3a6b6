"""Function of the owner that removes the disclosures and keys of one subject, on PostgreSQL.

It runs with the privileges of the owner, so that the role of the application needs no DELETE: the
rows of one subject at a time are all that the role can remove, and `verify` reports a removal that
no event records.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import DDL, Connection, Dialect, Table, event

from auditspan.storage.append_only.trigger import schema_prefix
from auditspan.storage.dialects import PerDialect
from auditspan.storage.schemas import dialect_of

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


def with_erasure_function(table: Table) -> Table:
    """Create the function whenever this table is created, for example by `create_all`."""
    event.listen(table, "after_create", _after_create, propagate=True)
    event.listen(table, "after_drop", _after_drop, propagate=True)
    return table


def erasure_creation(subject_key: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that create the function, if the table of keys exists."""
    return [DDL(one) for one in _CREATE.of(dialect)(subject_key, dialect)]  # type: ignore[no-untyped-call]


def erasure_removal(subject_key: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that drop the function."""
    return [DDL(one) for one in _REMOVE.of(dialect)(subject_key, dialect)]  # type: ignore[no-untyped-call]


def _create(table: Table, dialect: Dialect) -> list[str]:
    name = dialect.identifier_preparer.format_table(table).replace("'", "''")
    return [_CREATION.replace("@table@", name)]


def _remove(table: Table, dialect: Dialect) -> list[str]:
    return [f"DROP FUNCTION IF EXISTS {schema_prefix(table, dialect)}{FUNCTION}{_TYPES}"]


_CREATE = PerDialect[Callable[[Table, Dialect], list[str]]](
    postgresql=_create, sqlite=lambda *_: []
)
_REMOVE = PerDialect[Callable[[Table, Dialect], list[str]]](
    postgresql=_remove, sqlite=lambda *_: []
)


def _after_create(table: Table, connection: Connection, **_: object) -> None:
    for statement in erasure_creation(table, dialect_of(connection)):
        connection.execute(statement)


def _after_drop(table: Table, connection: Connection, **_: object) -> None:
    for statement in erasure_removal(table, dialect_of(connection)):
        connection.execute(statement)
