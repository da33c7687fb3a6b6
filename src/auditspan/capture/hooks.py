"""Hooks of sessions and statements: the origin of each write is noted before it is executed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.orm import Session, SessionTransaction

from auditspan.capture.altered import before_schema_change
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.open_transaction import OpenTransaction, open_transaction
from auditspan.capture.registry import register, register_engine
from auditspan.capture.transactions import watch_transactions
from auditspan.capture.watch import forget_watches, note_write, watching_captures
from auditspan.capture.writer import Capture
from auditspan.capture.writes import changes_schema, may_write
from auditspan.storage import set_up_transaction

_peers: WeakKeyDictionary[SessionTransaction, set[ReferenceType[Connection]]] = WeakKeyDictionary()


def attach(
    capture: Capture,
    sessions: Any,  # noqa: ANN401 (an event target of SQLAlchemy)
    engines: Iterable[Engine],
) -> None:
    """Capture what these sessions write, through these engines and through those they use later."""
    register(capture, engines)

    def after_begin(session: Session, begun: SessionTransaction, connection: Connection) -> None:
        watch_transactions(connection.dialect)
        register_engine(capture, connection.engine)
        set_up_transaction(connection)
        transaction = open_transaction(connection)
        peers = transaction.peers = _peers.setdefault(session.get_transaction() or begun, set())
        peers.add(ref(connection))

    event.listen(sessions, "after_begin", after_begin)


@event.listens_for(Engine, "do_execute_no_params", insert=True)
def _execute_no_params(cursor: object, statement: str, context: Any) -> None:  # noqa: ANN401
    _execute(cursor, statement, (), context)


@event.listens_for(Engine, "do_execute", insert=True)
@event.listens_for(Engine, "do_executemany", insert=True)
def _execute(_cursor: object, statement: str, _parameters: object, context: Any) -> None:  # noqa: ANN401
    """Note the origin of a write, and prepare a change of the schema."""
    is_schema_change = changes_schema(statement)
    is_write = context.isinsert or context.isupdate or context.isdelete
    is_write = is_write or _may_write(context, statement)
    if not is_write and not is_schema_change:
        return
    connection: Connection = context.root_connection
    watch_transactions(connection.dialect)
    try:
        transaction = open_transaction(connection)
    except NotImplementedError:  # SQLAlchemy asks a new database for its version
        return
    if is_schema_change:
        _prepare_schema_change(connection, transaction, statement)
    if is_write and not transaction.is_busy:
        set_up_transaction(connection)  # first: the note begins the transaction
        with transaction.busy:
            note_write(connection, transaction, _written(context))
    if is_schema_change:  # text of several statements is also a write
        forget_watches(connection.dialect)


def _may_write(context: Any, statement: str) -> bool:  # noqa: ANN401
    of = CAPTURE_DIALECTS.find(context.root_connection)
    return may_write(statement, by_functions=of is None or of.FUNCTIONS_WRITE)


def _prepare_schema_change(
    connection: Connection, transaction: OpenTransaction, statement: str
) -> None:
    if watching_captures(connection, None):
        forget_watches(connection.dialect)
        if not transaction.is_busy:
            before_schema_change(connection, statement)


def _written(context: Any) -> Table | None:  # noqa: ANN401
    """Return the table that a SQLAlchemy statement writes to; None for raw SQL."""
    table = getattr(getattr(context.compiled, "statement", None), "table", None)
    if isinstance(table, Table):  # the ORM passes annotated copies
        return table.metadata.tables.get(table.key, table)
    return None
