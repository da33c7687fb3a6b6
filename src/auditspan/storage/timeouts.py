"""Time limits of the database role, lifted for transactions that are long for good reason.

The sealer signs between two statements, `verify` reads and hashes the whole trail, `reconcile`
reads files, `export` waits for its reader. A limit on the role is meant for runaway and forgotten
transactions, and would end these, too. As pg_dump does, they lift it for themselves.
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
"""Settings with the first version of PostgreSQL that has them."""


def lift_time_limits(connection: Connection) -> None:
    """Let the transaction of this connection, and each of its statements, take any time.

    Only this transaction is affected: nothing is left on the session. A transaction is begun where
    there is none, without a snapshot, so that the limit on idle sessions does not apply either.
    """
    if connection.dialect.name != "postgresql":
        return
    version = connection.dialect.server_version_info or ()
    known = [name for name, first in _LIMITS.items() if version >= first]
    for name in known:  # each by itself: several in one text could be writes
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")


@contextmanager
def kept_alive(connection: Connection) -> Iterator[None]:
    """Keep the session from being ended as idle while it waits for something else.

    It waits in a transaction without a snapshot, which holds no lock and keeps no row from VACUUM.
    SQLite has no such limits, and a transaction there could keep writers waiting.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    with connection.begin():
        lift_time_limits(connection)
        yield
