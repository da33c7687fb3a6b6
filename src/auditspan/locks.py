"""Who may work, when several could: advisory locks on PostgreSQL, the one writer on SQLite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def session_lock(connection: Connection, name: str) -> Iterator[bool]:
    """Whether this connection has the lock, until the block ends or the connection is lost.

    On SQLite always. On PostgreSQL whoever had it has another session afterwards: only the end of a
    session gives the lock back whatever happened, and a pool would keep the session and the lock.
    """
    if connection.dialect.name != "postgresql":
        yield True
        return
    statement = text("SELECT pg_try_advisory_lock(:key)")
    is_held = bool(connection.execute(statement, {"key": lock_key(name)}).scalar_one())
    connection.commit()
    try:
        yield is_held
    finally:
        if is_held:
            connection.invalidate()


def lock_key(name: str) -> int:
    """A 64-bit key for PostgreSQL from a name."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
