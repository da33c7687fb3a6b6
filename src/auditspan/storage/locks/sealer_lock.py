"""Sealer's lock: one sealing transaction at a time.

On PostgreSQL it is a row lock in `audit_delivery`, held until the transaction ends. It works behind
a transaction pooler, and only a role with UPDATE on that table can hold it, whereas any role can
hold an advisory lock. On SQLite a writing transaction excludes all others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Text, literal_column, select, text
from sqlalchemy.exc import IntegrityError

from auditspan.errors import AuditWriteError
from auditspan.storage import AuditTables, DatabaseClock, insert_counted
from auditspan.storage.dialects import PerDialect
from auditspan.storage.locks.leases import NO_CURSOR, limit_idleness
from auditspan.storage.locks.stored_leases import DURATION, lease_key

SEALER = "auditspan.sealer"

_KEY = lease_key(SEALER)

_HOLDER = text(
    """
    SELECT l.pid, a.usename, a.application_name, a.wait_event
      FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock'
       AND l.transactionid = CAST(:xid AS xid)
    """
)
_TERMINATE = text("SELECT pg_terminate_backend(:pid)")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """Database session that holds the sealer's lock.

    Attributes:
        xid: its transaction id.
        pid: the id of the server process.
        role: the role of the session.
        application: the application name of the session.
        wait_event: the current wait event; None if this role may not see it.
    """

    xid: str
    pid: int
    role: str
    application: str
    wait_event: str | None

    @property
    def description(self) -> str:
        """The description of the holder for messages."""
        return f"database session {self.pid} of role {self.role} ({self.application})"


def try_sealer_lock(connection: Connection, tables: AuditTables) -> bool:
    """Take the lock until this transaction ends; return False if another transaction holds it.

    The transaction must not contain writes: if the row of the lock is missing, it is inserted in a
    separate transaction. The server ends the transaction of a frozen client after `DURATION`
    seconds.
    """
    return _TRY_LOCK.of(connection)(connection, tables)


def _try_row_lock(connection: Connection, tables: AuditTables) -> bool:
    if _lock(connection, tables):
        return True
    if (
        connection.execute(select(tables.delivery.c.sink).where(_is_row(tables))).first()
        is not None
    ):
        return False
    return _make_row(connection, tables)


def _lock(connection: Connection, tables: AuditTables) -> bool:
    limit_idleness(connection)
    row = select(tables.delivery.c.sink).where(_is_row(tables))
    return connection.execute(row.with_for_update(skip_locked=True)).first() is not None


def _is_row(tables: AuditTables) -> ColumnElement[bool]:
    return tables.delivery.c.sink == _KEY


def _make_row(connection: Connection, tables: AuditTables) -> bool:
    """Insert the missing row, and lock it.

    Sealing continues if the database drops the row: the keys of the leaves also exclude a second
    sealer, and `db check` reports the cause.
    """
    values = {"sink": _KEY, "updated_at": DatabaseClock(), **NO_CURSOR}
    try:
        insert_counted(connection, tables.delivery, values)
        connection.commit()
    except IntegrityError:  # another sealer was faster
        connection.rollback()
    except AuditWriteError as error:
        _logger.debug("sealing without the sealer's lock: %s", error)
        return True
    return _lock(connection, tables)


def lock_holder(connection: Connection, tables: AuditTables) -> LockHolder | None:
    """Return the session that holds the lock; None if it is free, and on SQLite."""
    return _HOLDER_OF.of(connection)(connection, tables)


def _row_lock_holder(connection: Connection, tables: AuditTables) -> LockHolder | None:
    xmax = literal_column("CAST(xmax AS text)", Text())
    xid = connection.execute(select(xmax).where(_is_row(tables))).scalar()
    row = connection.execute(_HOLDER, {"xid": xid or "0"}).first()
    if row is None:
        return None
    pid, role, application, event = row
    return LockHolder(xid=str(xid), pid=pid, role=role, application=application, wait_event=event)


_TRY_LOCK = PerDialect[Callable[[Connection, AuditTables], bool]](
    postgresql=_try_row_lock, sqlite=lambda *_: True
)
_HOLDER_OF = PerDialect[Callable[[Connection, AuditTables], LockHolder | None]](
    postgresql=_row_lock_holder, sqlite=lambda *_: None
)


@dataclass(kw_only=True)
class LockWatch:
    """Watch of a busy lock, which reports a slow holder and ends the session of a frozen one.

    The server ends an idle transaction, but not one whose client has stopped reading a result; such
    a session waits only for its client at every observation.
    """

    holder: LockHolder | None = None
    since: float = 0.0
    frozen_since: float = 0.0
    is_named: bool = field(default=False)

    def observe(self, connection: Connection, tables: AuditTables) -> None:
        """Check the holder; call this each time the lock is busy."""
        now, holder = time.monotonic(), lock_holder(connection, tables)
        if holder is None or self.holder is None or holder.xid != self.holder.xid:
            self.since, self.frozen_since, self.is_named = now, now, False
        self.holder = holder
        if holder is None:
            return
        if holder.wait_event != "ClientWrite":
            self.frozen_since = now
        self._report(connection, holder, now)

    def _report(self, connection: Connection, holder: LockHolder, now: float) -> None:
        if now - self.since > DURATION and not self.is_named:
            self.is_named = True
            _logger.warning(
                "nothing was sealed for %.0f s: %s holds the sealer's lock",
                *(now - self.since, holder.description),
            )
        if now - self.frozen_since > DURATION:
            _logger.error("terminating %s: its client does not read results", holder.description)
            connection.execute(_TERMINATE, {"pid": holder.pid})
            self.frozen_since = now
