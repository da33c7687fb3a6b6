"""Check of the functions that purge, and that no role both records and purges (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, bindparam, text

from auditspan.seal.guards.finding import Finding
from auditspan.storage import (
    DROP_PARTITIONS,
    PURGE_FUNCTIONS,
    REMOVE,
    AuditTables,
    dialect_of,
)

_FUNCTIONS = text(
    """
    SELECT p.proname AS name, p.prosecdef AS is_definer, p.proowner = c.relowner AS is_of_owner,
           replace(p.prosrc, quote_ident(n.nspname) || '.', '@schema@.') AS source,
           coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false) AS is_pinned,
           EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                    WHERE a.grantee = 0) AS is_public
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname IN :names
     WHERE c.oid = to_regclass(:event)
    """
).bindparams(bindparam("names", expanding=True))
_BOTH = text(
    """
    SELECT DISTINCT r.rolname AS role
      FROM pg_class c JOIN pg_proc p ON p.pronamespace = c.relnamespace AND p.proname IN :names
     CROSS JOIN pg_roles r
     WHERE c.oid = to_regclass(:event) AND NOT r.rolsuper AND r.oid <> c.relowner
       AND NOT pg_has_role(r.oid, c.relowner, 'MEMBER')
       AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
       AND has_any_column_privilege(r.oid, c.oid, 'INSERT')
       AND (pg_has_role(session_user, r.oid, 'MEMBER')
            OR pg_has_role(current_user, r.oid, 'MEMBER'))
     ORDER BY role
    """
).bindparams(bindparam("names", expanding=True))


def purge_findings(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    """Yield functions that differ from those of this release, and roles that may do too much."""
    name = dialect_of(connection).identifier_preparer.format_table(tables.event)
    if connection.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is None:
        return  # another finding reports it
    yield from _functions(connection, name)
    for role in connection.scalars(_BOTH, {"event": name, "names": [REMOVE, DROP_PARTITIONS]}):
        detail = (
            f"The role {role} may both record events and purge them: it could remove what it has "
            f"recorded. Revoke EXECUTE on {REMOVE} and {DROP_PARTITIONS} from it, and purge with a "
            "role of its own, as granted in deploy/postgres/grants.sql."
        )
        yield Finding(kind="role", detail=detail)


def _functions(connection: Connection, event: str) -> Iterator[Finding]:
    names = [one.name for one in PURGE_FUNCTIONS]
    rows = connection.execute(_FUNCTIONS, {"event": event, "names": names}).all()
    for function in PURGE_FUNCTIONS:
        found = [row for row in rows if row.name == function.name]
        wanted = (function.source, function.is_definer, True, True, function.is_public)
        states = [
            (row.source, row.is_definer, row.is_of_owner, row.is_pinned, row.is_public)
            for row in found
        ]
        if states != [wanted]:
            what = "differs from that of this release" if found else "is missing"
            detail = (
                f"The function {function.signature} {what}: rows of {event} could be removed "
                "without authorisation, or cannot be purged. Run `auditspan db guard` as the owner "
                "of the tables, and then `auditspan verify`."
            )
            yield Finding(kind="trigger", detail=detail)
