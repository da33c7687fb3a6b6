"""The sealer's lock: one sealing transaction at a time.

On PostgreSQL it is the lock of a row of `audit_delivery`, held until the transaction ends. It
survives a transaction pooler, and only a role with UPDATE on that table can hold it; an advisory
lock can be held by every role. On SQLite a writing transaction excludes every other one.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Text, literal_column, select, text
from sqlalchemy.exc import IntegrityError

from auditspan.errors import AuditWriteError
from auditspan.storage.column_types import DatabaseClock
from auditspan.storage.insert import insert_counted
from auditspan.storage.leases import DURATION, NO_CURSOR, lease_key, limit_idleness
from auditspan.storage.tables import AuditTables

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
    """The database session that holds the sealer's lock.

    Attributes:
        xid: its transaction.
        pid: the server's process.
        role: the role that it connected as.
        application: the name that it connected with.
        wait_event: what it waits for; None where this role must not know.
    """

    xid: str
    pid: int
    role: str
    application: str
    wait_event: str | None

    @property
    def description(self) -> str:
        """The holder, for people."""
        return f"database session {self.pid} of role {self.role} ({self.application})"


def try_sealer_lock(connection: Connection, tables: AuditTables) -> bool:
    """Take the lock until this transaction ends; false where another transaction has it.

    Nothing may have been written in the transaction: where the row of the lock is missing, it is
    made in a transaction of its own. The server ends the transaction of a frozen client after
    `DURATION` seconds.
    """
    if connection.dialect.name != "postgresql":
        return True
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
    """Insert the row, the first time, and lock it.

    Sealing continues where the database drops the row: the keys of the leaves exclude two sealers,
    too, and `db check` names what drops it.
    """
    values = {"sink": _KEY, "updated_at": DatabaseClock(), **NO_CURSOR}
    try:
        insert_counted(connection, tables.delivery, values)
        connection.commit()
    except IntegrityError:  # another sealer was faster
        connection.rollback()
    except AuditWriteError as error:
        _logger.debug("sealing without its lock: %s", error)
        return True
    return _lock(connection, tables)


def lock_holder(connection: Connection, tables: AuditTables) -> LockHolder | None:
    """The session that holds the lock; None where it is free, and on SQLite."""
    if connection.dialect.name != "postgresql":
        return None
    xmax = literal_column("CAST(xmax AS text)", Text())
    xid = connection.execute(select(xmax).where(_is_row(tables))).scalar()
    row = connection.execute(_HOLDER, {"xid": xid or "0"}).first()
    if row is None:
        return None
    pid, role, application, event = row
    return LockHolder(xid=str(xid), pid=pid, role=role, application=application, wait_event=event)


@dataclass(kw_only=True)
class LockWatch:
    """Observes a lock that is busy: names a slow holder, ends the session of a frozen one.

    The server ends an idle transaction by itself. It does not end one whose client has stopped
    reading an answer; such a session waits for nothing but its client each time it is looked at.
    """

    holder: LockHolder | None = None
    since: float = 0.0
    frozen_since: float = 0.0
    is_named: bool = field(default=False)

    def observe(self, connection: Connection, tables: AuditTables) -> None:
        """Look at the holder; call this each time the lock was busy."""
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
            _logger.error("%s does not read its answers and is ended", holder.description)
            connection.execute(_TERMINATE, {"pid": holder.pid})
            self.frozen_since = now
