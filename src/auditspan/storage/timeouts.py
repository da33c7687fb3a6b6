"""Removal of the database role's time limits for transactions that are legitimately long.

The sealer signs between two statements, `verify` reads and hashes the whole trail, `reconcile`
reads files, `export` waits for its reader. A limit on the role is meant for runaway and forgotten
transactions, but would end these too. Like pg_dump, they therefore disable it for themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

_LIMITS = {
    "statement_timeout": (),
    "idle_in_transaction_session_timeout": (),
    "transaction_timeout": (17,),
}
"""The settings, each with the first version of PostgreSQL that supports it."""


def lift_time_limits(connection: Connection) -> None:
    """Disable time limits for this connection's transaction and each of its statements.

    Only this transaction is affected, not the session. If there is no transaction, one is begun
    without a snapshot, so that the limit on idle sessions does not apply either.
    """
    if connection.dialect.name != "postgresql":
        return
    version = connection.dialect.server_version_info or ()
    known = [name for name, first in _LIMITS.items() if version >= first]
    for name in known:  # one by one: several statements in one text could be writes
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")


@contextmanager
def kept_alive(connection: Connection) -> Iterator[None]:
    """Prevent the server from ending the session as idle while it waits for something else.

    It waits in a transaction without a snapshot, which holds no lock and does not hold back VACUUM.
    SQLite has no such limits, and a transaction there could block writers.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    with connection.begin():
        lift_time_limits(connection)
        yield
