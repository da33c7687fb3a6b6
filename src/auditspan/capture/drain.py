"""Drain: staged changes of the running transaction become audit rows before it commits.

It takes changes from the database (`CaptureDialect.drain`). An error while they are recorded MUST
fail the commit: on SQLite, a change that was taken but not recorded is lost. On PostgreSQL, the
staged rows stay until the transaction inserts into `audit_event`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from sqlalchemy import Connection, Table

from auditspan.capture.assembler import Assembler
from auditspan.capture.database_errors import refused_as
from auditspan.capture.dialects import CAPTURE_DIALECTS, CaptureDialect
from auditspan.capture.open_transaction import OpenTransaction, busy, open_transaction
from auditspan.capture.origin import Origin
from auditspan.capture.registry import captures_of
from auditspan.capture.writer import Capture
from auditspan.storage import staging_of


def drain_now(connection: Connection) -> None:
    """Write the audit rows of what the running transaction has staged so far.

    Raises:
        AuditWriteError: they could not be written.
        MissingActorError: no actor is set.
    """
    transaction = open_transaction(connection)
    if not transaction.written or transaction.is_busy:
        return
    of = CAPTURE_DIALECTS.of(connection)
    if not of.is_healthy(connection):
        return
    with busy(connection):
        for capture in captures_of(connection):
            staging = staging_of(capture.metadata)
            if staging is not None and staging.metadata in transaction.written:
                _drain(connection, capture, staging, of)
    # Rolling back a savepoint restores the staged rows that were drained in it.
    if not connection.in_nested_transaction():
        transaction.written.clear()


def _drain(connection: Connection, capture: Capture, staging: Table, of: CaptureDialect) -> None:
    transaction, recorder = open_transaction(connection), capture.recorder
    tx_id = transaction.tx_id(recorder.new_id)
    assembler = Assembler(
        connection=connection,
        metadata=capture.metadata,
        mac_key=capture.mac_key,
        origin_at=_origins(transaction, capture),
    )
    with refused_as(
        "the changes of this transaction could not be recorded, so its commit was refused"
    ):
        for changes in assembler.assemble(
            of.drain(connection, staging, assembler.look, transaction.floor)
        ):
            records = (recorder.record_change(change, origin, tx_id) for origin, change in changes)
            capture.write(connection, records, is_drain=True)


def _origins(transaction: OpenTransaction, capture: Capture) -> Callable[[int], Origin]:
    """Return a function that returns the origin of a position, by default the present one."""
    present = cache(capture.recorder.origin)
    return lambda position: transaction.at(position) or present()
