"""The staging table on PostgreSQL: its storage, and the role's rights on it and its drain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, text

from auditspan.seal.guards.finding import Finding, unrecorded
from auditspan.storage import AuditTables, dialect_of, schema_in
from auditspan.storage.triggers import StagedTable

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
_STORAGE = text(
    """
    SELECT c.relpersistence AS persistence, c.relreplident AS identity,
           EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid) AS indexes
      FROM pg_class c WHERE c.oid = to_regclass(:table)
    """
)


def staging_findings(
    connection: Connection, staging: Table, tables: AuditTables, staged: Sequence[StagedTable]
) -> Iterator[Finding]:
    """Yield the problems with the table, and the rights that are missing or too many."""
    for problem in _storage_problems(connection, staging):
        yield Finding(kind="trigger", detail=unrecorded(problem))
    yield from _roles(connection, staging, tables, staged)


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
    connection: Connection, staging: Table, tables: AuditTables, staged: Sequence[StagedTable]
) -> Iterator[Finding]:
    quoted = dialect_of(connection).identifier_preparer
    home = schema_in(dialect_of(connection), staging)
    schema = f"{quoted.quote_identifier(home)}." if home else ""
    names = {
        "tables": [_plain(quoted.format_table(one.table), connection) for one in staged],
        "staging": quoted.format_table(staging),
        "event": quoted.format_table(tables.event),
        "leaf": quoted.format_table(tables.leaf),
        "drain": f"{schema}auditspan_drain(integer)",
    }
    found = connection.execute(_RIGHTS, names).one()
    if not found.is_superuser:  # no privilege restricts it; another finding reports it
        for sentence in _wrong_rights(found, staging):
            yield Finding(kind="role", detail=sentence)


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
