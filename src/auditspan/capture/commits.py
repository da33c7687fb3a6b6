"""End of a transaction: its staged changes become audit rows before the database commits."""

from __future__ import annotations

from sqlalchemy import Connection

from auditspan.capture.altered import restore_touched
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.drain import drain, has_staged
from auditspan.capture.open_transaction import OpenTransaction, open_transaction
from auditspan.capture.triggers import has_deferred


def before_commit(transaction: OpenTransaction | None, *, is_prepared: bool = False) -> None:
    """Drain the transaction, and refuse to commit it if a record is missing.

    A prepared transaction was drained before. Without a state, nothing was executed in it.

    Raises:
        AuditWriteError: a change in it has no record.
        MissingActorError: no actor is set.
    """
    connection = transaction.connection() if transaction else None
    if transaction is None or connection is None:
        return
    if transaction.journal is not None:
        _close_journal(connection, transaction)
    if not is_prepared:
        _drain_or_roll_back(connection, transaction)


def _close_journal(connection: Connection, transaction: OpenTransaction) -> None:
    """Refuse to commit if a record is missing; note whether the database will commit."""
    journal, of = transaction.opened_journal(), CAPTURE_DIALECTS.find(connection)
    journal.require_complete()
    if of is not None and not connection.invalidated and of.has_failed(connection):
        journal.give_up()


def _drain_or_roll_back(connection: Connection, transaction: OpenTransaction) -> None:
    """Drain every connection of the session, so that none commits when one refuses.

    If that fails, roll back, because the transaction must not be committed. SQLAlchemy would leave
    it open, and the next `commit()` on SQLite would commit the changes without their audit rows.
    """
    peers = _others(connection, transaction) if len(transaction.peers) > 1 else ()
    try:
        for each in {connection, *peers}:
            _drain(each, open_transaction(each))
    except BaseException:
        _end(connection)
        raise


def _others(connection: Connection, transaction: OpenTransaction) -> list[Connection]:
    others = (peer() for peer in transaction.peers)
    return [one for one in others if one is not None and one is not connection and _is_open(one)]


def _is_open(peer: Connection) -> bool:
    return not peer.closed and not peer.invalidated and peer.in_transaction()


def _drain(connection: Connection, transaction: OpenTransaction) -> None:
    if transaction.touched:
        restore_touched(connection)
    if has_staged(connection, transaction):
        if has_deferred(connection):
            _fire_deferred(connection, transaction)
        drain(connection, transaction)


def _fire_deferred(connection: Connection, transaction: OpenTransaction) -> None:
    """Run the application's deferred triggers now, because their writes must be drained.

    A deferred constraint that is violated raises here, as the driver's own error.
    """
    with transaction.busy:
        connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")


def _end(connection: Connection) -> None:
    """End the transaction; where the connection was lost, the database has ended it."""
    if connection.invalidated:
        return
    try:
        connection.dialect.do_rollback(connection.connection)
    except connection.dialect.loaded_dbapi.Error:
        connection.invalidate()  # it must not be committed later
