"""The hooks of connections: who wrote what, and the drain before COMMIT and PREPARE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Engine, MetaData, Table, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction

from auditspan.capture.drain import drain
from auditspan.capture.opentransaction import (
    begin_to_write,
    is_healthy,
    open_transaction,
    position,
)
from auditspan.capture.staging import staging_of
from auditspan.capture.subjects import subject_of
from auditspan.capture.telling import Telling, Told
from auditspan.capture.triggers import require_triggers
from auditspan.capture.writer import Capture, captures_of, meet
from auditspan.capture.writes import may_write
from auditspan.errors import AuditWriteError, MissingContextError
from auditspan.record import AuditRecord
from auditspan.recorder import Surroundings

_checked: WeakKeyDictionary[Dialect, set[MetaData]] = WeakKeyDictionary()


def listen(capture: Capture, sessions: Any) -> None:  # noqa: ANN401 (a target as SQLAlchemy has it)
    """Learn which engines the sessions of a factory use, and drain all before the first commits."""

    def after_begin(_session: Session, _begun: SessionTransaction, connection: Connection) -> None:
        meet(capture, connection.engine)

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
    with _busy(connection):
        for capture in captures_of(connection):
            staging = staging_of(capture.metadata)
            if staging is not None:
                _drain(connection, capture, staging)
    transaction.has_written = False


def _drain(connection: Connection, capture: Capture, staging: Table) -> None:
    transaction = open_transaction(connection)
    fallback: list[Surroundings] = []

    def surroundings_at(place: int) -> Surroundings:
        found = transaction.at(place)
        if found is None:
            fallback[:] = fallback or [capture.recorder.surroundings()]
            return fallback[0]
        return found

    telling = Telling(
        connection=connection,
        metadata=capture.metadata,
        mac_key=capture.mac_key,
        surroundings_at=surroundings_at,
    )
    try:
        for told in telling.told(drain(connection, staging, transaction.floor)):
            if told:
                capture.write(connection, _records(capture, connection, told))
    except SQLAlchemyError as error:
        raise AuditWriteError(
            "the changes of this transaction could not be recorded, so its commit was refused: look"
            " at the error above, and see that the audit tables exist (`auditspan db check`)"
        ) from error


def _records(capture: Capture, connection: Connection, told: list[Told]) -> list[AuditRecord]:
    tx_id = capture.tx_id(connection)
    return [
        capture.recorder.record(
            f"{change.target.type}.{change.verb}",
            tx_id=tx_id,
            surroundings=surroundings,
            target=change.target,
            changes=change.changes,
        )
        for surroundings, change in told
    ]


@event.listens_for(Engine, "before_cursor_execute")
def _before(
    connection: Connection,
    _cursor: object,
    statement: str,
    _parameters: object,
    context: Any,  # noqa: ANN401
    _executemany: object,
) -> None:
    captures = captures_of(connection)
    if not captures or not _is_write(context, statement):
        return
    transaction = open_transaction(connection)
    if transaction.is_busy:
        return
    with _busy(connection):
        for capture in captures:
            _note(connection, capture)
            _require_actor(capture, context)


def _note(connection: Connection, capture: Capture) -> None:
    transaction = open_transaction(connection)
    staging = staging_of(capture.metadata)
    if staging is None or _is_autocommit(connection):
        return
    _require_triggers_once(connection, capture.metadata)
    surroundings = capture.recorder.surroundings()
    if not transaction.has_begun:
        transaction.begin(begin_to_write(connection, staging), surroundings)
    elif transaction.needs(surroundings):
        transaction.note(position(connection, staging), surroundings)
    transaction.has_written = True


def _require_triggers_once(connection: Connection, metadata: MetaData) -> None:
    checked = _checked.setdefault(connection.dialect, set())
    if metadata not in checked:
        require_triggers(connection, metadata)
        checked.add(metadata)


def _require_actor(capture: Capture, context: Any) -> None:  # noqa: ANN401
    """Refuse a write to an audited table at once where nobody said who acts.

    What only the database sees (raw SQL, cascades) is refused before COMMIT.
    """
    statement = getattr(getattr(context, "compiled", None), "statement", None)
    table = getattr(statement, "table", None)
    if not capture.recorder.strict or not isinstance(table, Table):
        return
    subject = subject_of(table)
    if subject is not None and capture.recorder.surroundings().actor is None:
        raise MissingContextError(_nobody(f"a write to {table.name!r}"))


def _nobody(what: str) -> str:
    return (
        f"{what} was refused because nobody said who acts: wrap the work in "
        "`with audit_context(actor=Actor.user(...))` (or Actor.system(...) for a job), "
        "or give the trail strict=False to record the actor as unknown"
    )


def _is_write(context: Any, statement: str) -> bool:  # noqa: ANN401
    return bool(context.isinsert or context.isupdate or context.isdelete) or may_write(statement)


def _is_autocommit(connection: Connection) -> bool:
    """Whether every statement commits by itself: the worker records what such statements change."""
    if connection.dialect.name == "sqlite":
        return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    driver: Any = connection.connection.driver_connection
    return bool(driver.autocommit)


@contextmanager
def _busy(connection: Connection) -> Iterator[None]:
    transaction = open_transaction(connection)
    transaction.is_busy = True
    try:
        yield
    finally:
        transaction.is_busy = False


@event.listens_for(Engine, "commit")
def _commit(connection: Connection) -> None:
    drain_now(connection)


@event.listens_for(Engine, "prepare_twophase")
def _prepare_twophase(connection: Connection, _xid: object) -> None:
    drain_now(connection)


@event.listens_for(Engine, "commit_twophase")
def _commit_twophase(connection: Connection, _xid: object, is_prepared: object) -> None:
    if not is_prepared:
        drain_now(connection)
