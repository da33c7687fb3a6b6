"""The capture of one trail: writes changes as audit rows, in the transaction that made them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, MetaData, Table

from auditspan.capture.database_errors import raise_as_refused
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.journal import Announce
from auditspan.capture.open_transaction import OpenTransaction, open_transaction
from auditspan.capture.recorder import Recorder
from auditspan.errors import AuditConfigError
from auditspan.format import AuditRecord, MacKey
from auditspan.storage import AuditTables, KeySource, audit_change_table, insert_records


@dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """The tables, recorder and key that one trail writes with.

    Attributes:
        tables: the audit tables.
        recorder: builds the records.
        mac_key: authenticates them.
        announce: announces them when they are committed.
        sqlite_settings: whether the engines are set up where they are SQLite's.
        erasure_keys: encrypt erasable values; None for those of the metadata.
    """

    tables: AuditTables
    recorder: Recorder
    mac_key: MacKey | None
    announce: Announce
    sqlite_settings: bool = True
    erasure_keys: KeySource | None = None

    @cached_property
    def metadata(self) -> MetaData:
        """The metadata of the tables that this trail audits."""
        return self.tables.event.metadata

    @cached_property
    def staging(self) -> Table:
        """The staging table."""
        return audit_change_table(self.metadata)

    def tx_id(self, connection: Connection) -> str:
        """Return the id of the connection's running transaction.

        Raises:
            AuditConfigError: the connection commits every statement by itself, so that no event
                could share the caller's transaction.
        """
        _require_transaction(connection)
        return open_transaction(connection).tx_id(self.recorder.new_id)

    def write(self, connection: Connection, records: Iterable[AuditRecord]) -> None:
        """Insert records in the running transaction; they are announced when it has committed.

        Raises:
            AuditConfigError: the connection commits every statement by itself (`tx_id`).
            AuditWriteError: they could not be written. The transaction, or the savepoint, can no
                longer be committed, even if the caller swallows this error.
            DBAPIError: the database asks to retry the transaction.
        """
        _require_transaction(connection)
        self.insert(connection, open_transaction(connection), records)

    def insert(
        self,
        connection: Connection,
        transaction: OpenTransaction,
        records: Iterable[AuditRecord],
        *,
        by_driver: bool = False,
    ) -> None:
        """Insert as `write`; `by_driver` if the transaction has written before (`insert_rows`)."""
        journal = transaction.opened_journal()
        try:
            insert_records(
                connection,
                self.tables,
                journal.counted(records, self.announce),
                self.mac_key,
                self.erasure_keys,
                by_driver=by_driver,
            )
        except Exception as error:  # noqa: BLE001 (raised again)
            journal.fail(error)
            raise_as_refused(
                error,
                "the audit row could not be written, so the change was refused with it",
            )


def _require_transaction(connection: Connection) -> None:
    of = CAPTURE_DIALECTS.of(connection)
    level = connection.get_execution_options().get("isolation_level")
    if level == "AUTOCOMMIT" or of.commits_by_itself(connection):
        raise AuditConfigError(
            "an event was refused, because its connection is in AUTOCOMMIT mode, so it could not "
            "commit or roll back with the caller's transaction: use an engine "
            "without isolation_level='AUTOCOMMIT' (on SQLite with isolation_level=None, emit "
            "BEGIN in an event listener for `begin`)"
        )
