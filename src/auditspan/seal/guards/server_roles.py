"""Server-wide powers of PostgreSQL roles, which table privileges do not show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, text

_POWERS = text(
    """
    SELECT r.rolname AS role, r.rolcreaterole AS creates_roles,
           r.rolname IN (session_user, current_user) AS is_own
      FROM pg_roles r
     WHERE (r.rolcreaterole
            OR r.rolname IN ('pg_execute_server_program', 'pg_write_server_files'))
       AND NOT r.rolsuper
       AND NOT EXISTS (SELECT FROM pg_roles own
                        WHERE own.rolname IN (session_user, current_user) AND own.rolsuper)
       AND (pg_has_role(session_user, r.oid, 'MEMBER')
            OR pg_has_role(current_user, r.oid, 'MEMBER'))
     ORDER BY r.rolname
    """
)


def server_powers(connection: Connection) -> Iterator[str]:
    """Yield one sentence for each role with which this connection could take over the server.

    The connected role and every role that it can become are checked. Superusers are not reported.
    """
    for row in connection.execute(_POWERS):
        yield f"{_role(row)} {_why(row)}"


def _role(row: Row[Any]) -> str:
    if row.is_own:
        return f"The role {row.role}, which is connected,"
    return f"The connected role can become {row.role}, which"


def _why(row: Row[Any]) -> str:
    if row.creates_roles:
        return (
            "has CREATEROLE: it could create or become a role that may change the trail. "
            f"Revoke it with ALTER ROLE {row.role} NOCREATEROLE."
        )
    return (
        "reaches the server's own files and programs: it could change the trail despite every "
        f"privilege. Revoke it with REVOKE {row.role} FROM the role that has it."
    )
