"""Rules and row security on audit tables, which could drop or hide rows (PostgreSQL)."""

from __future__ import annotations

from sqlalchemy import Connection, text

_POSTGRESQL_INTERFERENCE = text(
    """
    SELECT 'rule ' || r.rulename AS what FROM pg_rewrite r
     WHERE r.ev_class = to_regclass(:table) AND r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'row security policy' FROM pg_class c
     WHERE c.oid = to_regclass(:table) AND c.relrowsecurity
    """
)


def interference(connection: Connection, full_name: str) -> list[str]:
    """Return the rules and the row security of a table or partition."""
    if connection.dialect.name != "postgresql":
        return []
    return list(connection.scalars(_POSTGRESQL_INTERFERENCE, {"table": full_name}))
