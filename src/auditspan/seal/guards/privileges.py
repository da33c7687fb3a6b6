"""Privileges on the audit tables, of the connected role and of those it can become (PostgreSQL)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

_RIGHTS = text(
    """
    SELECT r.rolname AS role, r.rolsuper AS is_superuser,
           r.rolname IN (session_user, current_user) AS is_own,
           c.relname AS name, r.oid IN (c.relowner, n.nspowner) AS owns,
           ARRAY(SELECT verb FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) verb
                  WHERE has_table_privilege(r.oid, c.oid, verb)
                     OR verb = 'UPDATE' AND has_any_column_privilege(r.oid, c.oid, verb)) AS verbs
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN pg_roles r
     WHERE c.oid IN (SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) name)
       AND (pg_has_role(session_user, r.oid, 'MEMBER')
            OR pg_has_role(current_user, r.oid, 'MEMBER'))
     ORDER BY r.rolname, c.relname
    """
)


def dangerous_roles(connection: Connection, names: Sequence[str]) -> Iterator[str]:
    """Yield one sentence for each role of this connection that could change these tables.

    That is the role itself and every role that it can become.
    """
    rights: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(_RIGHTS, {"tables": names}):
        rights[row.role].append(row)
    own = [rows for rows in rights.values() if rows[0].is_own]
    # A superuser can become any role: it is reported once.
    for rows in [rows for rows in own if rows[0].is_superuser] or rights.values():
        if power := _power(rows):
            yield (
                f"The role {rows[0].role}, {_connection_of(rows[0])}, {power}: it could change the "
                "trail. Connect as a role that may only insert and select there, as granted in "
                "deploy/postgres/grants.sql."
            )


def _connection_of(row: Row[Any]) -> str:
    return "which is connected" if row.is_own else "which the connected role can become"


def _power(rows: Sequence[Row[Any]]) -> str | None:
    """Return the power of a role over the trail; None if it has none."""
    if rows[0].is_superuser:
        return "is a superuser, which no privilege restricts"
    if owned := [row.name for row in rows if row.owns]:
        return f"owns {', '.join(owned)}, or the schema they are in"
    may = [f"{', '.join(row.verbs)} on {row.name}" for row in rows if row.verbs]
    return f"may {'; '.join(may)}" if may else None
