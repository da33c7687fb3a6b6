"""Hooks of transactions: the drain before each COMMIT and PREPARE, and the state of a connection.

SQLAlchemy's own events fire before the database acts, the savepoint event lacks the name, and
listeners of an engine slow down every commit, also of programs that audit nothing. So the
dialect's `do_…` methods are wrapped, once per engine: when they return, the database has acted.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Dialect, Engine, event

from auditspan.capture.commits import before_commit
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.open_transaction import (
    Info,
    OpenTransaction,
    end,
    open_transaction,
    opened,
)

_IS_WATCHED = "auditspan_is_watched"


def watch_transactions(dialect: Dialect) -> None:
    """Follow the transactions of the engine with this dialect."""
    if not hasattr(dialect, _IS_WATCHED):
        setattr(dialect, _IS_WATCHED, True)
        _watch_ends(dialect)
        _watch_twophase(dialect)
        _watch_savepoints(dialect)


@event.listens_for(Engine, "do_connect")
def _connect(dialect: Dialect, *_arguments: object) -> None:
    """Follow the transactions of every engine, whether or not a trail knows it."""
    watch_transactions(dialect)


def _watch_ends(dialect: Any) -> None:  # noqa: ANN401 (instance attributes in place of methods)
    do_commit, do_rollback = dialect.do_commit, dialect.do_rollback

    def commit(dbapi_connection: Any) -> None:  # noqa: ANN401
        before_commit(opened(_info(dbapi_connection)))
        ended = end(_info(dbapi_connection))  # before: the commit may fail
        do_commit(dbapi_connection)
        _announce(ended)

    def rollback(dbapi_connection: Any) -> None:  # noqa: ANN401
        end(_info(dbapi_connection))
        do_rollback(dbapi_connection)

    dialect.do_commit, dialect.do_rollback = commit, rollback


def _watch_twophase(dialect: Any) -> None:  # noqa: ANN401
    do_prepare = dialect.do_prepare_twophase
    do_commit, do_rollback = dialect.do_commit_twophase, dialect.do_rollback_twophase

    def prepare(connection: Connection, xid: object) -> None:
        before_commit(open_transaction(connection))
        do_prepare(connection, xid)

    def commit(connection: Connection, xid: object, *is_prepared: bool, **options: Any) -> None:
        before_commit(open_transaction(connection), is_prepared=all(is_prepared))
        ended = end(connection.info)  # before: COMMIT PREPARED is followed by a ROLLBACK
        do_commit(connection, xid, *is_prepared, **options)
        _announce(ended)

    def rollback(connection: Connection, *args: Any, **options: Any) -> None:
        end(connection.info)
        do_rollback(connection, *args, **options)

    dialect.do_prepare_twophase = prepare
    dialect.do_commit_twophase, dialect.do_rollback_twophase = commit, rollback


def _watch_savepoints(dialect: Any) -> None:  # noqa: ANN401
    savepoint, roll_back_to, release = (
        dialect.do_savepoint,
        dialect.do_rollback_to_savepoint,
        dialect.do_release_savepoint,
    )

    def do_savepoint(connection: Connection, name: str) -> None:
        if of := CAPTURE_DIALECTS.find(connection):
            of.begin_before_savepoint(connection)
        savepoint(connection, name)
        open_transaction(connection).opened_journal().savepoint(name)

    def do_rollback_to_savepoint(connection: Connection, name: str) -> None:
        open_transaction(connection).opened_journal().roll_back_to(name)
        roll_back_to(connection, name)

    def do_release_savepoint(connection: Connection, name: str) -> None:
        release(connection, name)
        open_transaction(connection).opened_journal().release(name)

    dialect.do_savepoint = do_savepoint
    dialect.do_rollback_to_savepoint = do_rollback_to_savepoint
    dialect.do_release_savepoint = do_release_savepoint


def _info(dbapi_connection: Any) -> Info:  # noqa: ANN401
    """Return the dictionary of a pooled connection; SQLAlchemy also rolls back others."""
    try:
        found: Info = dbapi_connection.info
    except (AttributeError, NotImplementedError):
        return {}
    return found


def _announce(ended: OpenTransaction | None) -> None:
    if ended is not None and ended.journal is not None:
        ended.journal.committed()
