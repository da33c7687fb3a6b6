"""Leases as they are stored, for those who hold them and for those who look at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select, text

from auditspan.storage import LEASE_PREFIX, AuditTables, DatabaseClock, StoredText, UtcText
from auditspan.storage.dialects import PerDialect

DURATION = 10.0
"""The seconds after the last renewal at which a lease expires."""

VACANT = "-"
"""The holder of a released lease, and the session of a holder behind a pooler."""

_IS_CONNECTED = text("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = :pid)")


@dataclass(frozen=True, kw_only=True)
class StoredLease:
    """Lease as stored in the table.

    Attributes:
        name: the purpose of the lease.
        holder: `HOST/PROCESS/SESSION/TOKEN`; the session is `-` behind a pooler.
        age: seconds since the last renewal.
        is_connected: whether the holder's database session exists; None behind a pooler.
    """

    name: str
    holder: str
    age: float
    is_connected: bool | None = None

    @property
    def key(self) -> str:
        """The sink of its row."""
        return lease_key(self.name, self.holder)

    @property
    def is_vacant(self) -> bool:
        """True if the lease was released."""
        return self.holder == VACANT

    @property
    def is_current(self) -> bool:
        """True if the lease is valid. A time far in the future was not set by a holder."""
        return not self.is_vacant and self.is_connected is not False and abs(self.age) <= DURATION

    @property
    def description(self) -> str:
        """The description of the holder for messages."""
        host, process, session, _ = [*self.holder.split("/"), "-", "-", "-"][:4]
        where = "through a pooler" if session == VACANT else f"database session {session}"
        return f"process {process} on {host} ({where})"


def read_leases(connection: Connection, tables: AuditTables) -> dict[str, StoredLease]:
    """Return the leases in the table by name; of several the one that is valid, else the newest.

    There are none on SQLite, where one process delivers.
    """
    return _READ.of(connection)(connection, tables)


def _read(connection: Connection, tables: AuditTables) -> dict[str, StoredLease]:
    table = tables.delivery.c
    statement = select(StoredText(table.sink), UtcText(table.updated_at), DatabaseClock())
    rows = connection.execute(statement.where(table.sink.startswith(LEASE_PREFIX)))
    found = [_examined(connection, stored_lease(*row)) for row in rows.all()]
    found.sort(key=lambda one: (one.is_current, -one.age))
    return {one.name: one for one in found}


_READ = PerDialect[Callable[[Connection, AuditTables], dict[str, StoredLease]]](
    postgresql=_read, sqlite=lambda *_: {}
)


def stored_lease(sink: str, updated_at: str, now: datetime) -> StoredLease:
    """Return the lease of a row."""
    name, _, holder = sink.removeprefix(LEASE_PREFIX).rpartition(" ")
    return StoredLease(name=name, holder=holder, age=_age(updated_at, now))


def _age(updated_at: str, now: datetime) -> float:
    try:
        return (now - datetime.fromisoformat(updated_at)).total_seconds()
    except ValueError:
        return float("inf")


def _examined(connection: Connection, stored: StoredLease) -> StoredLease:
    """Return the lease, with `is_connected` set if its holder names a database session."""
    session = [*stored.holder.split("/"), "", "", ""][2]
    if not (session.isascii() and session.isdecimal()):
        return stored
    is_connected = connection.execute(_IS_CONNECTED, {"pid": int(session)}).scalar_one()
    return replace(stored, is_connected=bool(is_connected))


def lease_key(name: str, holder: str = VACANT) -> str:
    """Return the sink of the row of a lease."""
    return f"{LEASE_PREFIX}{name} {holder}"
