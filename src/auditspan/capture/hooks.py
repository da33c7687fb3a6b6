"""Connection hooks: they note the context of each write, and drain before COMMIT and PREPARE."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.orm import Session, SessionTransaction

from auditspan.capture.database_errors import refused_as
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.migrating import before_schema_change, drains, is_migrated, migrated_metadata
from auditspan.capture.open_transaction import Origin, busy, open_transaction
from auditspan.capture.origins import (
    Watched,
    note,
    note_migrated,
    require_known,
    restore_touched,
    watched,
)
from auditspan.capture.recording import recorded
from auditspan.capture.sessions import attached, engines_of
from auditspan.capture.telling import Telling
from auditspan.capture.triggers import forget_triggers, has_deferred
from auditspan.capture.writer import (
    Capture,
    adopt,
    captures_of,
    is_met,
    may_record,
    meet,
    register,
)
from auditspan.capture.writes import changes_schema, may_write
from auditspan.mapping import subject_of
from auditspan.storage import set_up_late, staging_of

_peers: WeakKeyDictionary[SessionTransaction, WeakSet[Connection]] = WeakKeyDictionary()


def attach(capture: Capture, sessions: Any) -> None:  # noqa: ANN401 (an event target of SQLAlchemy)
    """Capture what these sessions write, and remember that they have a trail."""
    _listen(capture, sessions)
    register(capture, engines_of(sessions))
    attached.add(sessions)


def _listen(capture: Capture, sessions: Any) -> None:  # noqa: ANN401 (an event target of SQLAlchemy)
    """Register the engines that a factory's sessions use, and the connections of each session."""

    def after_begin(session: Session, begun: SessionTransaction, connection: Connection) -> None:
        meet(capture, connection.engine)
        set_up_late(connection)
        peers = _peers.setdefault(session.get_transaction() or begun, WeakSet())
        peers.add(connection)
        open_transaction(connection).peers = peers

    event.listen(sessions, "after_begin", after_begin)


def drain_now(connection: Connection) -> None:
    """Write the audit rows of what the running transaction has staged so far.

    Raises:
        AuditWriteError: they could not be written.
        MissingActorError: no actor is set.
    """
    transaction = open_transaction(connection)
    if not transaction.written or transaction.is_busy or not _is_healthy(connection):
        return
    with busy(connection):
        for capture in captures_of(connection):
            staging = staging_of(capture.metadata)
            if staging is not None and staging.metadata in transaction.written:
                _drain(connection, capture, staging)
    # Rolling back a savepoint restores the staged rows that were drained in it.
    if not connection.in_nested_transaction():
        transaction.written.clear()


drains.append(drain_now)


def _is_healthy(connection: Connection) -> bool:
    return CAPTURE_DIALECTS.of(connection).is_healthy(connection)


def _drain(connection: Connection, capture: Capture, staging: Table) -> None:
    transaction = open_transaction(connection)
    fallback: list[Origin] = []

    def origin_at(place: int) -> Origin:
        found = transaction.at(place)
        if found is None:
            fallback[:] = fallback or [Origin(capture.recorder.surroundings())]
            return fallback[0]
        return found

    def tx_id(_origin: Origin) -> str:
        return capture.tx_id(connection)

    telling = Telling(
        connection=connection,
        metadata=capture.metadata,
        mac_key=capture.mac_key,
        origin_at=origin_at,
    )
    with refused_as(
        "the changes of this transaction could not be recorded, so its commit was refused: see"
        " the error above, and check that the audit tables exist (`auditspan db check`)"
    ):
        take = CAPTURE_DIALECTS.of(connection).drain
        changes = take(connection, staging, telling.look, transaction.floor)
        for told in telling.told(changes):
            capture.write(connection, recorded(told, capture.recorder, tx_id), is_drain=True)


@event.listens_for(Engine, "before_cursor_execute")
def _before(
    connection: Connection,
    _cursor: object,
    statement: str,
    _parameters: object,
    context: Any,  # noqa: ANN401
    _executemany: object,
) -> None:
    transaction, is_schema_change = open_transaction(connection), changes_schema(statement)
    if transaction.is_busy and not is_schema_change:
        return
    table = _table_of(context)
    checked = transaction.checked_for(connection.get_execution_options())
    if is_schema_change:
        checked.clear()
    found = None if table is None else checked.get(table)
    if found is None:
        found = _watched(connection, context, statement, table)
        if found and table is not None:
            checked[table] = found
    if found:
        with busy(connection):
            for written in found:
                note(connection, written)


def _watched(
    connection: Connection,
    context: Any,  # noqa: ANN401
    statement: str,
    written: Table | None,
) -> list[Watched]:
    """Return what is to be noted before a statement; do what it requires in a migration."""
    is_busy = open_transaction(connection).is_busy
    table = written if written is not None and subject_of(written) is not None else None
    captures = _captures(connection, table)
    if captures and changes_schema(statement):
        forget_triggers(connection.dialect)
        if not is_busy:
            before_schema_change(connection, statement)
    if is_busy or not captures or not _is_write(context, statement):
        return []
    migrates = is_migrated(connection)
    if table is not None and not migrates and is_met(connection):
        require_known(table, captures)
    with busy(connection):
        if migrates:
            for capture in captures:
                note_migrated(connection, capture)
            return []
        concerned = [one for one in captures if may_record(one, connection, written)]
        found = [watched(connection, one, table) for one in concerned]
    return [one for one in found if one is not None]


def _captures(connection: Connection, table: Table | None) -> list[Capture]:
    """Return the trails of this engine, of the migrated metadata, and of the written table."""
    found = captures_of(connection)
    unknown = set() if is_met(connection) else set(migrated_metadata(connection) or ())
    if table is not None and all(one.metadata is not table.metadata for one in found):
        unknown.add(table.metadata)
    for metadata in unknown:
        adopt(metadata, connection.engine)
    return captures_of(connection) if unknown else found


def _table_of(context: Any) -> Table | None:  # noqa: ANN401
    """Return the table that a SQLAlchemy statement writes to; None for raw SQL."""
    table = getattr(getattr(getattr(context, "compiled", None), "statement", None), "table", None)
    if isinstance(table, Table):  # the ORM passes annotated copies
        return table.metadata.tables.get(table.key, table)
    return None


def _is_write(context: Any, statement: str) -> bool:  # noqa: ANN401
    return bool(context.isinsert or context.isupdate or context.isdelete) or may_write(statement)


def _drain_or_roll_back(connection: Connection) -> None:
    """Drain every connection of the session, so that none commits when one refuses.

    If that fails, roll back, because the transaction must not be committed. SQLAlchemy would leave
    it open, and the next `commit()` on SQLite would commit the changes without their audit rows.
    """
    peers = [peer for peer in open_transaction(connection).peers if _is_open(peer)]
    try:
        for each in {connection, *peers}:
            restore_touched(each)
            _fire_deferred(each)
            drain_now(each)
    except BaseException:
        _end(connection)
        raise


def _end(connection: Connection) -> None:
    """End the transaction; where the connection was lost, the database has ended it."""
    if connection.invalidated:
        return
    try:
        connection.dialect.do_rollback(connection.connection)
    except connection.dialect.loaded_dbapi.Error:
        connection.invalidate()  # it must not be committed later


def _is_open(peer: Connection) -> bool:
    return not peer.closed and not peer.invalidated and peer.in_transaction()


def _fire_deferred(connection: Connection) -> None:
    """Run the application's deferred triggers now, because their writes must be drained.

    A deferred constraint that is violated raises here, as the driver's own error.
    """
    transaction = open_transaction(connection)
    if transaction.written and has_deferred(connection) and _is_healthy(connection):
        with busy(connection):
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")


@event.listens_for(Engine, "commit")
def _commit(connection: Connection) -> None:
    _drain_or_roll_back(connection)


@event.listens_for(Engine, "prepare_twophase")
def _prepare_twophase(connection: Connection, _xid: object) -> None:
    _drain_or_roll_back(connection)


@event.listens_for(Engine, "commit_twophase")
def _commit_twophase(connection: Connection, _xid: object, is_prepared: object) -> None:
    if not is_prepared:
        _drain_or_roll_back(connection)
