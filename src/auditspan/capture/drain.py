"""Drain: staged changes of the running transaction become audit rows before it commits.

It takes changes from the database (`CaptureDialect.drain`). An error while they are recorded MUST
fail the commit: on SQLite, a change that was taken but not recorded is lost. On PostgreSQL, the
staged rows stay until the transaction inserts into `audit_event`.
"""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from auditspan.capture.assembler import Assembler
from auditspan.capture.database_errors import raise_as_refused
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.open_transaction import OpenTransaction, open_transaction
from auditspan.capture.registry import captures_of
from auditspan.capture.writer import Capture


def drain_now(connection: Connection) -> None:
    """Write the audit rows of what the running transaction has staged so far.

    Raises:
        AuditWriteError: they could not be written.
        MissingActorError: no actor is set.
    """
    transaction = open_transaction(connection)
    if has_staged(connection, transaction):
        drain(connection, transaction)


def has_staged(connection: Connection, transaction: OpenTransaction) -> bool:
    """Return whether there may be changes to take, and they can be taken."""
    if not transaction.written or transaction.is_busy:
        return False
    return CAPTURE_DIALECTS.of(connection).is_healthy(connection)


def drain(connection: Connection, transaction: OpenTransaction) -> None:
    """Drain a transaction in which something was staged."""
    with transaction.busy:
        for capture in captures_of(connection):
            if capture.metadata in transaction.written:
                _drain(connection, transaction, capture)
    # Rolling back a savepoint restores the staged rows that were drained in it.
    if not connection.in_nested_transaction():
        transaction.written.clear()


def _drain(connection: Connection, transaction: OpenTransaction, capture: Capture) -> None:
    of, recorder = CAPTURE_DIALECTS.of(connection), capture.recorder
    tx_id = transaction.tx_id(recorder.new_id)
    assembler = Assembler(
        connection=connection,
        metadata=capture.metadata,
        mac_key=capture.mac_key,
        origin_at=transaction.at,
    )
    staged = of.drain(connection, capture.staging, assembler.look, transaction.floor)
    try:
        for changes in assembler.assemble(staged):
            records = (recorder.record_change(change, origin, tx_id) for origin, change in changes)
            capture.insert(connection, transaction, records, by_driver=True)
    except SQLAlchemyError as error:
        raise_as_refused(
            error,
            "the changes of this transaction could not be recorded, so its commit was refused",
        )
