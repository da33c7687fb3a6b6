"""Who may work, when several could: advisory locks on PostgreSQL, the one writer on SQLite."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, text

SEALER = "auditspan.sealer"
RELAY = "auditspan.relay"


def try_transaction_lock(connection: Connection, name: str) -> bool:
    """Whether this transaction has the lock until it ends.

    On SQLite always: a writing transaction excludes every other one by itself.
    """
    if connection.dialect.name != "postgresql":
        return True
    statement = text("SELECT pg_try_advisory_xact_lock(:key)")
    return bool(connection.execute(statement, {"key": lock_key(name)}).scalar_one())


def try_session_lock(connection: Connection, name: str) -> bool:
    """Whether this connection has the lock until it is closed or lost. On SQLite always."""
    if connection.dialect.name != "postgresql":
        return True
    statement = text("SELECT pg_try_advisory_lock(:key)")
    return bool(connection.execute(statement, {"key": lock_key(name)}).scalar_one())


def lock_key(name: str) -> int:
    """A 64-bit key for PostgreSQL from a name."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
