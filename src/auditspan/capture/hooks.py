"""Hooks of connections: they note the origin of each write, and drain before COMMIT and PREPARE."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.orm import Session, SessionTransaction

from auditspan.capture.altered import before_schema_change, restore_touched
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.drain import drain_now
from auditspan.capture.open_transaction import busy, open_transaction
from auditspan.capture.registry import meet, register
from auditspan.capture.triggers import has_deferred
from auditspan.capture.watch import forget_watches, note_write, watching_captures
from auditspan.capture.writer import Capture
from auditspan.capture.writes import changes_schema, may_write
from auditspan.storage import set_up_late

_peers: WeakKeyDictionary[SessionTransaction, set[ReferenceType[Connection]]] = WeakKeyDictionary()


def attach(
    capture: Capture,
    sessions: Any,  # noqa: ANN401 (an event target of SQLAlchemy)
    engines: Iterable[Engine],
) -> None:
    """Capture what these sessions write, through these engines and through those they use later."""
    register(capture, engines)

    def after_begin(session: Session, begun: SessionTransaction, connection: Connection) -> None:
        meet(capture, connection.engine)
        set_up_late(connection)
        peers = _peers.setdefault(session.get_transaction() or begun, set())
        peers.add(ref(connection))
        open_transaction(connection).peers = peers

    event.listen(sessions, "after_begin", after_begin)


@event.listens_for(Engine, "before_cursor_execute")
def _before(
    connection: Connection,
    _cursor: object,
    statement: str,
    _parameters: object,
    context: Any,  # noqa: ANN401
    _executemany: object,
) -> None:
    transaction = open_transaction(connection)
    if changes_schema(statement):
        _prepare_schema_change(connection, statement)
    if not transaction.is_busy and _is_write(connection, context, statement):
        with busy(connection):
            note_write(connection, _written(context))


def _prepare_schema_change(connection: Connection, statement: str) -> None:
    if watching_captures(connection, None):
        forget_watches(connection.dialect)
        if not open_transaction(connection).is_busy:
            before_schema_change(connection, statement)


@event.listens_for(Engine, "after_cursor_execute")
def _after(
    connection: Connection,
    _cursor: object,
    statement: str,
    _parameters: object,
    _context: object,
    _executemany: object,
) -> None:
    """Forget what was found before: text of several statements is also a write."""
    if changes_schema(statement):
        forget_watches(connection.dialect)


def _written(context: Any) -> Table | None:  # noqa: ANN401
    """Return the table that a SQLAlchemy statement writes to; None for raw SQL."""
    table = getattr(getattr(getattr(context, "compiled", None), "statement", None), "table", None)
    if isinstance(table, Table):  # the ORM passes annotated copies
        return table.metadata.tables.get(table.key, table)
    return None


def _is_write(connection: Connection, context: Any, statement: str) -> bool:  # noqa: ANN401
    if context.isinsert or context.isupdate or context.isdelete:
        return True
    of = CAPTURE_DIALECTS.find(connection)
    return may_write(statement, by_functions=of is None or of.FUNCTIONS_WRITE)


def _drain_or_roll_back(connection: Connection) -> None:
    """Drain every connection of the session, so that none commits when one refuses.

    If that fails, roll back, because the transaction must not be committed. SQLAlchemy would leave
    it open, and the next `commit()` on SQLite would commit the changes without their audit rows.
    """
    others = (peer() for peer in open_transaction(connection).peers)
    peers = [one for one in others if one is not None and one is not connection and _is_open(one)]
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
    if (
        transaction.written
        and has_deferred(connection)
        and CAPTURE_DIALECTS.of(connection).is_healthy(connection)
    ):
        with busy(connection):
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")


def _close_journal(connection: Connection) -> None:
    """Refuse to commit if a record is missing; note whether the database will commit, and where."""
    transaction = open_transaction(connection)
    if not transaction.has_journal:
        return
    journal, of = transaction.journal, CAPTURE_DIALECTS.find(connection)
    journal.require_complete()
    if of is not None and not connection.invalidated and of.has_failed(connection):
        journal.give_up()
    journal.committing()


@event.listens_for(Engine, "commit")
def _commit(connection: Connection) -> None:
    _close_journal(connection)
    _drain_or_roll_back(connection)


@event.listens_for(Engine, "prepare_twophase")
def _prepare_twophase(connection: Connection, _xid: object) -> None:
    _close_journal(connection)
    _drain_or_roll_back(connection)


@event.listens_for(Engine, "commit_twophase")
def _commit_twophase(connection: Connection, _xid: object, is_prepared: object) -> None:
    _close_journal(connection)
    if not is_prepared:
        _drain_or_roll_back(connection)
