"""Removal of the database role's time limits for transactions that are legitimately long.

The sealer signs between two statements, `verify` reads and hashes the whole trail, `reconcile`
reads files, `export` waits for its reader. A limit on the role is meant for runaway and forgotten
transactions, but would end these too. Like pg_dump, they therefore disable it for themselves.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import Connection

from auditspan.storage.dialects import DIALECTS


def lift_time_limits(connection: Connection) -> None:
    """Disable time limits for this connection's transaction and each of its statements.

    Only this transaction is affected, not the session. If there is no transaction, one is begun
    without a snapshot, so that the limit on idle sessions does not apply either.
    """
    DIALECTS.of(connection).lift_time_limits(connection)


def kept_alive(connection: Connection) -> AbstractContextManager[None]:
    """Prevent the server from ending the session as idle while it waits for something else.

    It waits in a transaction without a snapshot, which holds no lock and does not hold back VACUUM.
    SQLite has no such limits, and a transaction there could block writers.
    """
    return DIALECTS.of(connection).kept_alive(connection)
