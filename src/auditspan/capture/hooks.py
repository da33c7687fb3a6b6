"""The hooks of connections: who wrote what, and the drain before COMMIT and PREPARE."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Dialect, Engine, Table, event
from sqlalchemy.orm import Session, SessionTransaction

from auditspan.capture.catalog import table_named
from auditspan.capture.database_errors import refused_as
from auditspan.capture.drain import drain
from auditspan.capture.migrating import (
    acting,
    before_schema_change,
    can_record,
    drains,
    is_counted,
    is_migrated,
    migrated_metadata,
    restore_triggers,
)
from auditspan.capture.opentransaction import (
    Origin,
    begin_to_write,
    busy,
    is_autocommit,
    is_healthy,
    is_read_only,
    open_transaction,
    position,
)
from auditspan.capture.recording import recorded
from auditspan.capture.staging import staging_of
from auditspan.capture.subjects import subject_of
from auditspan.capture.telling import Telling
from auditspan.capture.triggers import (
    create_triggers,
    forget_triggers,
    has_deferred,
    has_triggers,
    staged_tables,
)
from auditspan.capture.unaudited import unaudited_reason
from auditspan.capture.writer import Capture, adopt, captures_of, may_record, meet
from auditspan.capture.writes import changes_schema, may_write
from auditspan.errors import AuditConfigError, AuditWriteError, UnauditedWriteError
from auditspan.recorder import missing_actor
from auditspan.tables import require_supported

_peers: WeakKeyDictionary[SessionTransaction, WeakSet[Connection]] = WeakKeyDictionary()


def listen(capture: Capture, sessions: Any) -> None:  # noqa: ANN401 (a target as SQLAlchemy has it)
    """Learn which engines the sessions of a factory use, and which connections work together."""

    def after_begin(session: Session, begun: SessionTransaction, connection: Connection) -> None:
        meet(capture, connection.engine)
        peers = _peers.setdefault(session.get_transaction() or begun, WeakSet())
        peers.add(connection)
        open_transaction(connection).peers = peers

    event.listen(sessions, "after_begin", after_begin)


def drain_now(connection: Connection) -> None:
    """Write the audit rows of what the running transaction has staged so far.

    Raises:
        AuditWriteError: they could not be written.
        MissingContextError: nobody said who acts.
    """
    transaction = open_transaction(connection)
    if not transaction.has_written or transaction.is_busy or not is_healthy(connection):
        return
    with busy(connection):
        for capture in captures_of(connection):
            staging = staging_of(capture.metadata)
            if staging is not None:
                _drain(connection, capture, staging)
    transaction.has_written = False


drains.append(drain_now)


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
        "the changes of this transaction could not be recorded, so its commit was refused: look"
        " at the error above, and see that the audit tables exist (`auditspan db check`)"
    ):
        for told in telling.told(drain(connection, staging, telling.look, transaction.floor)):
            if told:
                capture.write(connection, recorded(told, capture.recorder, tx_id))


@event.listens_for(Engine, "before_cursor_execute")
def _before(
    connection: Connection,
    _cursor: object,
    statement: str,
    _parameters: object,
    context: Any,  # noqa: ANN401
    _executemany: object,
) -> None:
    captures = _captures(connection)
    if captures and changes_schema(statement):
        forget_triggers(connection.dialect)
        if not open_transaction(connection).is_busy:
            before_schema_change(connection, statement)
    if not captures or not _is_write(context, statement):
        return
    transaction = open_transaction(connection)
    if transaction.is_busy:
        return
    migrates = is_migrated(connection)
    written = _table_of(context)
    table = written if written is not None and subject_of(written) is not None else None
    if table is not None and not migrates:
        _require_known(table, captures)
    with busy(connection):
        for capture in captures:
            if migrates:
                _note_migrated(connection, capture)
            elif may_record(capture, connection, written):
                _note(connection, capture, table)


def _captures(connection: Connection) -> list[Capture]:
    """The trails of this engine; of an engine that only migrates, those of what it migrates."""
    found = captures_of(connection)
    if not found:
        for metadata in migrated_metadata(connection) or ():
            adopt(metadata, connection.engine)
        found = captures_of(connection)
    return found


def _table_of(context: Any) -> Table | None:  # noqa: ANN401
    """The table that a statement of SQLAlchemy's writes to; None for text."""
    table = getattr(getattr(getattr(context, "compiled", None), "statement", None), "table", None)
    if isinstance(table, Table):  # the ORM names annotated copies
        return table.metadata.tables.get(table.key, table)
    return None


def _require_known(table: Table, captures: list[Capture]) -> None:
    """Refuse an audited table that no trail of this engine knows.

    Raises:
        UnauditedWriteError: so it is.
    """
    known = (table_named(capture.metadata, table.key) for capture in captures)
    if not any(found is not None and subject_of(found) is not None for found in known):
        raise UnauditedWriteError(
            f"a write to {table.name!r} was refused: it is audited, and no trail over this engine "
            "knows it, so that no trigger would record it: make an AuditTrail over the metadata of "
            "its declarative base"
        )


def _note(connection: Connection, capture: Capture, table: Table | None) -> None:
    staging = staging_of(capture.metadata)
    if staging is None or is_autocommit(connection) or is_read_only(connection):
        return
    if not _is_supported(connection.dialect, table):
        return
    if not has_triggers(connection, staging):
        _require_no(table)
        return
    surroundings = capture.recorder.surroundings()
    if table is not None and surroundings.actor is None and capture.recorder.strict:
        raise missing_actor(f"a write to {table.name!r}")
    _note_origin(connection, staging, Origin(surroundings, unaudited_reason()))


def _note_migrated(connection: Connection, capture: Capture) -> None:
    """Note a write of a migration; there is nothing to note before the audit tables exist."""
    staging = staging_of(capture.metadata)
    if staging is None or is_autocommit(connection):
        return
    if can_record(connection, capture.tables.event):
        _restore_triggers(connection)
        surroundings = acting(capture.recorder.surroundings())
        origin = Origin(surroundings, unaudited_reason(), is_migration=is_counted())
        _note_origin(connection, staging, origin)


def _restore_triggers(connection: Connection) -> None:
    """Make triggers again that a statement has removed, or that no longer fit their table."""
    transaction = open_transaction(connection)
    if transaction.touched:
        for capture in captures_of(connection):
            restore_triggers(connection, capture.metadata, staged_tables, create_triggers)
        transaction.touched.clear()


def _note_origin(connection: Connection, staging: Table, origin: Origin) -> None:
    transaction = open_transaction(connection)
    if not transaction.has_begun:
        floor = begin_to_write(connection, staging)
        if floor is None:
            return
        transaction.begin(floor, origin)
    elif transaction.needs(origin):
        transaction.note(position(connection, staging), origin)
    transaction.has_written = True


def _is_supported(dialect: Dialect, table: Table | None) -> bool:
    try:
        require_supported(dialect)
    except AuditConfigError:
        if table is not None:
            raise
        return False
    return True


def _require_no(table: Table | None) -> None:
    if table is not None:
        raise AuditWriteError(
            f"a write to {table.name!r} was refused, because the audit tables do not exist in its "
            "database: create them (`auditspan db upgrade`, or your own migration)"
        )


def _is_write(context: Any, statement: str) -> bool:  # noqa: ANN401
    return bool(context.isinsert or context.isupdate or context.isdelete) or may_write(statement)


def _drain_or_roll_back(connection: Connection) -> None:
    """Drain, also the other connections of the session, so that none commits where one refuses.

    Where that fails, end the transaction, which nobody may commit any more. SQLAlchemy would leave
    it open: the next `commit()` on SQLite would take the changes without their audit rows.
    """
    peers = [peer for peer in open_transaction(connection).peers if _is_open(peer)]
    try:
        for each in {connection, *peers}:
            _restore_triggers(each)
            _fire_deferred(each)
            drain_now(each)
    except BaseException:
        connection.dialect.do_rollback(connection.connection)
        raise


def _is_open(peer: Connection) -> bool:
    return not peer.closed and not peer.invalidated and peer.in_transaction()


def _fire_deferred(connection: Connection) -> None:
    """Run deferred triggers of the application now, because what they write has to be drained.

    The errors of deferred constraints come here, as the driver's own.
    """
    transaction = open_transaction(connection)
    if transaction.has_written and has_deferred(connection) and is_healthy(connection):
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
