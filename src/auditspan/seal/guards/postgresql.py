"""Guards of a trail on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Row, Table, text

from auditspan.seal.guards.finding import Finding
from auditspan.seal.guards.postgresql_staging import staging_findings
from auditspan.seal.guards.privileges import dangerous_roles
from auditspan.seal.guards.purging import purge_findings
from auditspan.seal.guards.server_roles import server_powers
from auditspan.storage import (
    PARTITIONS,
    REFUSE_SOURCE,
    TERM_INDEX,
    TERM_SOURCE,
    AuditTables,
    Trigger,
    dialect_of,
    row_source,
    weak_points,
)

__all__ = [
    "interference",
    "invalid_indexes",
    "server_findings",
    "staging_findings",
    "trigger_state",
    "triggers_on",
]

_TRIGGERS = text(
    """
    SELECT t.tgname AS name, t.tgenabled::text AS enabled, t.tgtype AS type,
           replace(p.prosrc, quote_ident(n.nspname) || '.', '@schema@.') AS source,
           t.tgqual IS NULL AND CAST(t.tgattr AS text) = '' AS is_unconditional
      FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
      JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE t.tgrelid = to_regclass(:table) AND (NOT t.tgisinternal OR t.tgparentid <> 0)
    """
)
_TYPES = {"append_only": 1 + 2 + 8 + 16, "no_truncate": 2 + 32}
"""`tgtype` by the end of a trigger's name: row 1, before 2, delete 8, update 16, truncate 32."""
_INTERFERENCE = text(
    """
    SELECT 'rule ' || r.rulename AS what FROM pg_rewrite r
     WHERE r.ev_class = to_regclass(:table) AND r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'row security policy' FROM pg_class c
     WHERE c.oid = to_regclass(:table) AND c.relrowsecurity
    """
)
_INVALID = text(
    """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = to_regclass(:table) AND NOT (i.indisvalid AND i.indisready)
    """
)
_TERMS = text(
    """
    SELECT p.prosrc FROM pg_index i
      JOIN pg_class c ON c.oid = i.indexrelid AND c.relname = :index
      JOIN pg_depend d ON d.classid = CAST('pg_class' AS regclass) AND d.objid = c.oid
      JOIN pg_proc p ON d.refclassid = CAST('pg_proc' AS regclass) AND p.oid = d.refobjid
     WHERE i.indrelid = to_regclass(:table) AND i.indisvalid
    """
)


def server_findings(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    """Yield the problems with roles, durability and partitions."""
    yield from _roles(connection, tables)
    yield from (Finding(kind="role", detail=one) for one in server_powers(connection))
    yield from purge_findings(connection, tables)
    yield from _durability(connection)
    yield from _terms(connection, tables.event)
    yield from (
        Finding(kind="setting", detail=one) for one in weak_points(connection, tables.event)
    )


def triggers_on(connection: Connection, _table: Table, full_name: str) -> dict[str, Row[Any]]:
    """Return the triggers, including those that a partition has from its table."""
    rows = connection.execute(_TRIGGERS, {"table": full_name})
    return {row.name: row for row in rows}


def trigger_state(trigger: Trigger, row: Row[Any], _dialect: Dialect) -> str | None:
    """Compare the type, the source, and when it is enabled."""
    wanted = _TYPES[trigger.name.removeprefix(f"{trigger.table.name}_")]
    source = row_source(trigger.table) if wanted & 1 else REFUSE_SOURCE
    if row.type != wanted or not row.is_unconditional or row.source != source:
        return "differs from that of this release"
    if row.enabled == "A":
        return None
    return "is disabled" if row.enabled == "D" else "is not ENABLE ALWAYS, so it can be bypassed"


def interference(connection: Connection, full_name: str) -> Sequence[str]:
    """Return the rules and the row security of a table or partition."""
    return connection.scalars(_INTERFERENCE, {"table": full_name}).all()


def invalid_indexes(connection: Connection, table: Table) -> Sequence[str]:
    """Return the indexes that a failed CREATE INDEX CONCURRENTLY has left."""
    return connection.scalars(_INVALID, {"table": _full(table, connection)}).all()


def _roles(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    names = [_full(table, connection) for table in (*tables.append_only, *tables.erasable)]
    partitions = PARTITIONS.of(connection).partitions_of(connection, tables.event)
    names += [one.name for one in partitions]
    for detail in dangerous_roles(connection, names):
        yield Finding(kind="role", detail=detail)


def _durability(connection: Connection) -> Iterator[Finding]:
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off":
            detail = (
                f"{name} is off: data that was committed and announced can be lost in a crash of "
                f"the machine. Turn {name} on for this server, role and database."
            )
            yield Finding(kind="durability", detail=detail)


def _terms(connection: Connection, event: Table) -> Iterator[Finding]:
    """Yield the problem with the index of search terms; without it, its function may not exist."""
    names = {"index": TERM_INDEX, "table": _full(event, connection)}
    if connection.execute(_TERMS, names).scalars().all() != [TERM_SOURCE]:
        detail = (
            f"The index {TERM_INDEX} on {event.name}, or its function, is missing, invalid or "
            "different: searches by field, request, label and on_behalf_of fail or miss events. "
            "Drop the index if it exists, and run `auditspan db guard` as the owner of the tables."
        )
        yield Finding(kind="setting", detail=detail)


def _full(table: Table, connection: Connection) -> str:
    return dialect_of(connection).identifier_preparer.format_table(table)
