"""One trail's capture: turns changes into rows of the audit table, in their own transaction.

The hooks are installed once for the process and see every session, connection and engine. Which
trail a change belongs to follows from the engine and the metadata of its table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, Dialect, Engine, MetaData, Table

from auditspan.capture.database_errors import refused_as
from auditspan.capture.journal import Announce
from auditspan.capture.recorder import Recorder
from auditspan.capture.transactions import journal_of
from auditspan.format import AuditRecord, MacKey
from auditspan.mapping import tables_of
from auditspan.storage import AuditTables, insert_records, require_supported


@dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """What one trail writes, and how."""

    tables: AuditTables
    recorder: Recorder
    mac_key: MacKey | None
    announce: Announce

    @property
    def metadata(self) -> MetaData:
        """The metadata of the tables that this trail is about."""
        return self.tables.event.metadata

    def tx_id(self, connection: Connection) -> str:
        """The id of the connection's running transaction."""
        return journal_of(connection).tx_id(self.recorder.new_id)

    def write(self, connection: Connection, records: list[AuditRecord]) -> None:
        """Insert records in the running transaction; they are announced when it has committed.

        Raises:
            AuditWriteError: they could not be written. The transaction, or the savepoint, cannot
                be committed any more, also when the caller swallows this.
            DBAPIError: the database asks to run the transaction again.
        """
        journal = journal_of(connection)
        require_supported(connection.dialect)
        try:
            with refused_as(
                "the audit row could not be written, so the change was refused with it: look at "
                "the error above, and see that the audit tables exist (`auditspan db check`)"
            ):
                insert_records(connection, self.tables, records, self.mac_key)
        except Exception as error:
            journal.fail(error)
            raise
        journal.add(records, self.announce)


_by_metadata: WeakKeyDictionary[MetaData, Capture] = WeakKeyDictionary()
_by_engine: WeakKeyDictionary[Dialect, dict[MetaData, Capture]] = WeakKeyDictionary()
_by_url: dict[URL, dict[MetaData, Capture]] = {}
_nowhere: WeakKeyDictionary[MetaData, Capture] = WeakKeyDictionary()
"""Those of which no engine is known yet: any may be theirs."""


def register(capture: Capture, engines: Iterable[Engine]) -> None:
    """Make this the capture of its metadata; where there are several, on these engines."""
    _by_metadata[capture.metadata] = _nowhere[capture.metadata] = capture
    for engine in engines:
        _by_engine.setdefault(engine.dialect, {})[capture.metadata] = capture
        meet(capture, engine)


def meet(capture: Capture, engine: Engine) -> None:
    """Learn that an engine is used by sessions under this capture's trail."""
    known = _by_engine.setdefault(engine.dialect, {})
    if known.setdefault(capture.metadata, capture) is capture:
        _nowhere.pop(capture.metadata, None)
        if engine.url.database not in {None, "", ":memory:"}:
            _by_url.setdefault(engine.url, {})[capture.metadata] = capture


def adopt(metadata: MetaData, engine: Engine) -> None:
    """Learn that an engine is used for this metadata, where that is under a trail."""
    if metadata in _by_metadata:
        for known in [*_by_url.get(engine.url, {}).values(), _by_metadata[metadata]]:
            meet(known, engine)


def captures_of(connection: Connection) -> list[Capture]:
    """Every capture that may be meant by a statement that only names tables.

    Those of this engine, or of another one to the same database; else those of no known engine.
    """
    return list((_known(connection) or _nowhere).values())


def may_record(capture: Capture, connection: Connection, table: Table | None) -> bool:
    """Return whether a write to this table, or by text, may change what the capture records.

    A capture of no known engine is found for every engine, also for those of other databases: it
    takes only writes to tables that have the name of one of its own.
    """
    if table is None or _known(connection):
        return True
    return any(table.name == own.name for own in tables_of(capture.metadata))


def is_met(connection: Connection) -> bool:
    """Return whether a trail is known to be about this engine, or another one to its database."""
    return bool(_known(connection))


def _known(connection: Connection) -> dict[MetaData, Capture] | None:
    return _by_engine.get(connection.dialect) or _by_url.get(connection.engine.url)
