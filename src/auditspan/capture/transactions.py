"""Hooks that keep the state of a connection's transaction in step with the database.

SQLAlchemy's own events fire before the database acts, and the savepoint event lacks the name. So
the dialect's `do_…` methods are wrapped, once per engine: when they return, the database has
acted.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Dialect, Engine, event

from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.open_transaction import OpenTransaction, begin, end, open_transaction

_watched: WeakSet[Dialect] = WeakSet()


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    if connection.dialect not in _watched:
        _watched.add(connection.dialect)
        _watch(connection.dialect)
    begin(connection.info)


@event.listens_for(Engine, "begin_twophase")
def _begin_twophase(connection: Connection, _xid: object) -> None:
    _begin(connection)


def _watch(dialect: Any) -> None:  # noqa: ANN401 (instance attributes in place of methods)
    _watch_ends(dialect)
    _watch_twophase(dialect)
    _watch_savepoints(dialect)


def _watch_ends(dialect: Any) -> None:  # noqa: ANN401
    do_commit, do_rollback = dialect.do_commit, dialect.do_rollback

    def commit(dbapi_connection: Any) -> None:  # noqa: ANN401
        do_commit(dbapi_connection)
        _announce(end(dbapi_connection.info))

    def rollback(dbapi_connection: Any) -> None:  # noqa: ANN401
        end(getattr(dbapi_connection, "info", {}))
        do_rollback(dbapi_connection)

    dialect.do_commit, dialect.do_rollback = commit, rollback


def _watch_twophase(dialect: Any) -> None:  # noqa: ANN401
    do_commit, do_rollback = dialect.do_commit_twophase, dialect.do_rollback_twophase

    def commit(connection: Connection, *args: Any, **kwargs: Any) -> None:
        ended = end(connection.info)  # before: COMMIT PREPARED is followed by a ROLLBACK
        do_commit(connection, *args, **kwargs)
        _announce(ended)

    def rollback(connection: Connection, *args: Any, **kwargs: Any) -> None:
        end(connection.info)
        do_rollback(connection, *args, **kwargs)

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
        open_transaction(connection).journal.savepoint(name)

    def do_rollback_to_savepoint(connection: Connection, name: str) -> None:
        open_transaction(connection).journal.roll_back_to(name)
        roll_back_to(connection, name)

    def do_release_savepoint(connection: Connection, name: str) -> None:
        release(connection, name)
        open_transaction(connection).journal.release(name)

    dialect.do_savepoint = do_savepoint
    dialect.do_rollback_to_savepoint = do_rollback_to_savepoint
    dialect.do_release_savepoint = do_release_savepoint


def _announce(ended: OpenTransaction | None) -> None:
    if ended is not None and ended.has_journal:
        ended.journal.committed()
