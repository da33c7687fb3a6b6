"""Leases: the exclusive right of a process to deliver to a sink, for a limited time.

A lease is a row of `audit_delivery` whose sink has the reserved form `lease:NAME HOLDER`. The key
contains the holder and a random token, so a transaction that renews the lease by its key is fenced:
after another process has taken over, the key no longer exists and the transaction must not commit.
No state is kept in the server session, so leases work behind a transaction pooler, and a role
without UPDATE on `audit_delivery` can neither take a lease nor block one.

A lease ends when it is released, when it has not been renewed for `DURATION` seconds by the
database clock, or when the database session of a holder that connects without a pooler has ended.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from auditspan.storage import AuditTables, DatabaseClock, insert_counted
from auditspan.storage.dialects import PerDialect
from auditspan.storage.locks.stored_leases import (
    DURATION,
    VACANT,
    StoredLease,
    lease_key,
    read_leases,
)

RELAY = "auditspan.relay"

RENEWAL = 2.0
"""The seconds between two renewals."""

NO_CURSOR = {"sent_seq": -1, "safe_seq": -1}

_PATIENCE = text("SELECT set_config('idle_in_transaction_session_timeout', :millis, true)")
_BACKEND = text("SELECT pg_backend_pid()")

_logger = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """Lease that another process holds, or may hold by now."""


class _TakenError(Exception):
    """End of a transaction that has inserted a row for a lease that is held already."""

    def __init__(self, lease: StoredLease) -> None:
        self.lease = lease
        super().__init__(lease.name)


@dataclass(kw_only=True)
class Lease:
    """Lease held by this process.

    Attributes:
        tables: the audit tables.
        name: the purpose of the lease.
        holder: this process.
        renewed_at: the time of the last renewal, by the monotonic clock.
    """

    tables: AuditTables
    name: str
    holder: str
    renewed_at: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> str:
        """The sink of its row."""
        return lease_key(self.name, self.holder)

    def require_current(self) -> None:
        """Check that the lease cannot have expired.

        Raises:
            LeaseLostError: the lease was not renewed in time.
        """
        if time.monotonic() - self.renewed_at > DURATION:
            raise LeaseLostError(f"the lease {self.name} was not renewed in time")

    def renew(self, connection: Connection) -> None:
        """Renew the lease; until this transaction ends, no other process can take it.

        Raises:
            LeaseLostError: another process has taken it; the transaction MUST be rolled back.
        """
        started = time.monotonic()
        limit_idleness(connection)
        if not _rename(
            connection, self.tables, lease_key(self.name, self.holder), self.name, self.holder
        ):
            raise LeaseLostError(f"the lease {self.name} was taken by another process")
        self.renewed_at = started

    def release(self, connection: Connection) -> None:
        """Release the lease, so that another process can take it at once."""
        _rename(connection, self.tables, self.key, self.name, VACANT)


def limit_idleness(connection: Connection) -> None:
    """Let the server end this transaction if its client is frozen for `DURATION` seconds."""
    connection.execute(_PATIENCE, {"millis": str(round(DURATION * 1000))})


def acquire(connection: Connection, tables: AuditTables, name: str) -> Lease | StoredLease:
    """Take a lease in a new transaction, or return the existing lease that prevents it."""
    try:
        with connection.begin():
            return _acquire(connection, tables, name)
    except IntegrityError:  # another process has just inserted the row
        return StoredLease(name=name, holder=VACANT, age=0.0)
    except _TakenError as taken:
        return taken.lease


def _acquire(connection: Connection, tables: AuditTables, name: str) -> Lease | StoredLease:
    vacant = StoredLease(name=name, holder=VACANT, age=0.0)
    stored = read_leases(connection, tables).get(name)
    if stored and stored.is_current:
        return stored
    limit_idleness(connection)
    if stored is None:
        # The key is the same for every process, so two that start at once wait for each other here.
        values = {"sink": vacant.key, "updated_at": DatabaseClock(), **NO_CURSOR}
        insert_counted(connection, tables.delivery, values)
        stored = read_leases(connection, tables)[name]
        if stored.is_current:  # its holder has renamed the row that this one waited for
            raise _TakenError(stored)
    if stored.is_current or not _lock(connection, tables, stored):
        return stored
    holder = "/".join((socket.gethostname(), str(os.getpid()), _session(connection), _token()))
    if not _rename(connection, tables, stored.key, name, holder):
        return stored
    if not stored.is_vacant:
        _logger.warning("took over the lease %s from %s", name, stored.description)
    return Lease(tables=tables, name=name, holder=holder)


def holding(
    engine: Engine, connection: Connection, tables: AuditTables, name: str
) -> AbstractContextManager[Lease | StoredLease | None]:
    """Hold a lease for the duration of a `with` block, or yield the lease that prevents it.

    A thread with its own connections renews the lease, so slow work does not lose it; a frozen
    process does. On SQLite no lease is needed, and None is yielded.
    """
    return _HOLDING.of(connection)(engine, connection, tables, name)


@contextmanager
def _holding(
    engine: Engine, connection: Connection, tables: AuditTables, name: str
) -> Iterator[Lease | StoredLease | None]:
    lease = acquire(connection, tables, name)
    if isinstance(lease, StoredLease):
        yield lease
        return
    done = threading.Event()
    thread = threading.Thread(target=_keep, args=(engine, lease, done), name=f"auditspan-{name}")
    thread.start()
    try:
        yield lease
    finally:
        done.set()
        thread.join()
        with suppress(SQLAlchemyError), engine.begin() as another:  # otherwise it expires
            lease.release(another)


_Holding: TypeAlias = Callable[
    [Engine, Connection, AuditTables, str], AbstractContextManager[Lease | StoredLease | None]
]
_HOLDING = PerDialect[_Holding](postgresql=_holding, sqlite=lambda *_: nullcontext())


def _keep(engine: Engine, lease: Lease, done: threading.Event) -> None:
    """Renew the lease until it is done or lost; retry after failures until the lease expires."""
    while not done.wait(RENEWAL):
        try:
            with engine.begin() as connection:
                lease.renew(connection)
        except LeaseLostError:
            lease.renewed_at = -DURATION
            return
        except Exception as error:  # noqa: BLE001 (any database error)
            _logger.debug("failed to renew lease %s: %s", lease.name, type(error).__name__)


def _rename(
    connection: Connection, tables: AuditTables, before: str, name: str, holder: str
) -> bool:
    """Set the next key and a new time on the row of a lease; return False if its key changed."""
    table = tables.delivery
    renamed = update(table).where(table.c.sink == before)
    values = {"sink": lease_key(name, holder), "updated_at": DatabaseClock()}
    return connection.execute(renamed.values(values)).rowcount == 1


def _lock(connection: Connection, tables: AuditTables, stored: StoredLease) -> bool:
    """Lock the row of a lease if it is not locked, and check that it was not renewed."""
    table = tables.delivery.c
    row = select(table.sink).where(table.sink == stored.key).with_for_update(skip_locked=True)
    if connection.execute(row).first() is None:
        return False
    again = read_leases(connection, tables).get(stored.name)
    return again is not None and again.key == stored.key and not again.is_current


def _session(connection: Connection) -> str:
    """Return the server process of this connection; `-` behind a pooler, where it changes.

    A pooler gives clients its own cancellation keys, which drivers mistake for the server's.
    """
    driver: Any = connection.connection.driver_connection
    reported = getattr(getattr(driver, "info", None), "backend_pid", None)
    actual = connection.execute(_BACKEND).scalar_one()
    return str(actual) if reported == actual else VACANT


def _token() -> str:
    return secrets.token_hex(8)
