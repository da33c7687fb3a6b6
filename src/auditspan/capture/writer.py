"""The capture of one trail: writes changes as audit rows, in the transaction that made them.

The hooks are installed once for the process and see every session, connection and engine. The
engine and the metadata of its table determine the trail that a change belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, Dialect, Engine, MetaData, Table

from auditspan.capture.database_errors import refused_as
from auditspan.capture.defaults import warn_without_key
from auditspan.capture.journal import Announce, Tally
from auditspan.capture.recorder import Recorder
from auditspan.capture.transactions import journal_of
from auditspan.format import AuditRecord, MacKey
from auditspan.mapping import tables_of
from auditspan.storage import AuditTables, KeySource, insert_records, set_up_sqlite
from auditspan.storage.dialects import require_supported


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

    @property
    def metadata(self) -> MetaData:
        """The metadata of the tables that this trail audits."""
        return self.tables.event.metadata

    def tx_id(self, connection: Connection) -> str:
        """Return the id of the connection's running transaction."""
        return journal_of(connection).tx_id(self.recorder.new_id)

    def write(
        self, connection: Connection, records: Iterable[AuditRecord], *, is_drain: bool = False
    ) -> None:
        """Insert records in the running transaction; they are announced when it has committed.

        `is_drain` says that the transaction has written the rows that they are about.

        Raises:
            AuditWriteError: they could not be written. The transaction, or the savepoint, can no
                longer be committed, even if the caller swallows this error.
            DBAPIError: the database asks to retry the transaction.
        """
        if self.mac_key is None:
            warn_without_key()
        journal, written = journal_of(connection), Tally()
        require_supported(connection.dialect)
        try:
            with refused_as(
                "the audit row could not be written, so the change was refused with it: see "
                "the error above, and check that the audit tables exist (`auditspan db check`)"
            ):
                counted = written.counted(records)
                insert_records(
                    connection,
                    self.tables,
                    counted,
                    self.mac_key,
                    self.erasure_keys,
                    by_driver=is_drain,
                )
        except Exception as error:
            journal.fail(error)
            raise
        journal.add(written, self.announce)


_by_metadata: WeakKeyDictionary[MetaData, Capture] = WeakKeyDictionary()
_by_engine: WeakKeyDictionary[Dialect, dict[MetaData, Capture]] = WeakKeyDictionary()
_by_url: dict[URL, dict[MetaData, Capture]] = {}
_nowhere: WeakKeyDictionary[MetaData, Capture] = WeakKeyDictionary()
"""Captures whose engine is not known yet: it may be any engine."""


def register(capture: Capture, engines: Iterable[Engine]) -> None:
    """Register a capture for its metadata and, if that has several, for these engines."""
    _by_metadata[capture.metadata] = _nowhere[capture.metadata] = capture
    for engine in engines:
        _by_engine.setdefault(engine.dialect, {})[capture.metadata] = capture
        meet(capture, engine)


def meet(capture: Capture, engine: Engine) -> None:
    """Register an engine that is used by sessions of this capture's trail."""
    known = _by_engine.setdefault(engine.dialect, {})
    if known.setdefault(capture.metadata, capture) is capture:
        _nowhere.pop(capture.metadata, None)
        if capture.sqlite_settings:
            set_up_sqlite(engine)
        if engine.url.database not in {None, "", ":memory:"}:
            _by_url.setdefault(engine.url, {})[capture.metadata] = capture


def adopt(metadata: MetaData, engine: Engine) -> None:
    """Register an engine that is used for this metadata, if a trail is over the metadata."""
    if metadata in _by_metadata:
        for known in [*_by_url.get(engine.url, {}).values(), _by_metadata[metadata]]:
            meet(known, engine)


def captures_of(connection: Connection) -> list[Capture]:
    """Return every capture that may apply to a statement that only names tables.

    These are the captures of this engine, or of another one to the same database; otherwise those
    without a known engine.
    """
    return list((_known(connection) or _nowhere).values())


def may_record(capture: Capture, connection: Connection, table: Table | None) -> bool:
    """Return whether a write to this table, or by raw SQL, may concern this capture.

    A capture without a known engine is found for every engine, also for those of other databases:
    it takes only writes to tables that have the name of one of its own.
    """
    if table is None or _known(connection):
        return True
    return any(table.name == own.name for own in tables_of(capture.metadata))


def is_met(connection: Connection) -> bool:
    """Return whether a trail is registered for this engine, or another one to its database."""
    return bool(_known(connection))


def _known(connection: Connection) -> dict[MetaData, Capture] | None:
    return _by_engine.get(connection.dialect) or _by_url.get(connection.engine.url)
