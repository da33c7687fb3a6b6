"""Server-side limits on idle transactions, lifted for transactions that pause for good reason.

The sealer signs between two statements, `verify` hashes, `reconcile` reads files, `export` waits
for its reader. A limit on the role is meant for forgotten transactions, and would end these, too.
"""

from __future__ import annotations

from sqlalchemy import Connection

_KNOWS_TRANSACTION_TIMEOUT = (17,)


def lift_idle_limits(connection: Connection) -> None:
    """Let the transaction of this connection pause and last as long as it takes.

    Only this transaction is affected: nothing is left on the session. A transaction is begun where
    there is none, without a snapshot, so that the limit on idle sessions does not apply either.
    """
    if connection.dialect.name != "postgresql":
        return
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    if (connection.dialect.server_version_info or ()) >= _KNOWS_TRANSACTION_TIMEOUT:
        connection.exec_driver_sql("SET LOCAL transaction_timeout = 0")
