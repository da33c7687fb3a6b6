"""Hooks that keep journals in step with a connection's transactions and savepoints.

SQLAlchemy's own events fire before the database acts, and the savepoint event lacks the name. So
the dialect's `do_…` methods are wrapped, once per engine: when they return, the database has
acted. `Connection.info` belongs to the driver's connection and is emptied when that is lost, so a
lost transaction takes its journal with it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Dialect, Engine, event

from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.journal import Journal
from auditspan.errors import AuditConfigError

_KEY = "auditspan.capture.journal"
_watched: WeakSet[Dialect] = WeakSet()


def journal_of(connection: Connection) -> Journal:
    """Return the journal of the connection's running transaction.

    Raises:
        AuditConfigError: the connection commits every statement by itself, so that no event could
            share the caller's transaction.
    """
    journal = _open(connection)
    if not journal.is_transactional:
        _require_transactions(connection)
        journal.is_transactional = True
    return journal


def _require_transactions(connection: Connection) -> None:
    level = connection.get_execution_options().get("isolation_level")
    if level == "AUTOCOMMIT" or CAPTURE_DIALECTS.of(connection).commits_by_itself(connection):
        raise AuditConfigError(
            "an event was refused, because its connection is in AUTOCOMMIT mode, so it could not "
            "commit or roll back with the caller's transaction: use an engine "
            "without isolation_level='AUTOCOMMIT' (on SQLite with isolation_level=None, emit "
            "BEGIN in an event listener for `begin`)"
        )


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    if connection.dialect not in _watched:
        _watched.add(connection.dialect)
        _watch(connection.dialect)
    connection.info.pop(_KEY, None)


@event.listens_for(Engine, "begin_twophase")
def _begin_twophase(connection: Connection, _xid: object) -> None:
    _begin(connection)


@event.listens_for(Engine, "commit")
def _commit(connection: Connection) -> None:
    journal = connection.info.get(_KEY)
    if journal is not None:
        journal.require_complete()
        of = CAPTURE_DIALECTS.find(connection)
        if of is not None and not connection.invalidated and of.has_failed(connection):
            journal.give_up()
        journal.committing()


@event.listens_for(Engine, "prepare_twophase")
def _prepare_twophase(connection: Connection, _xid: object) -> None:
    _commit(connection)


@event.listens_for(Engine, "commit_twophase")
def _commit_twophase(connection: Connection, _xid: object, _is_prepared: object) -> None:
    _commit(connection)


def _watch(dialect: Any) -> None:  # noqa: ANN401 (instance attributes in place of methods)
    _watch_ends(dialect)
    _watch_twophase(dialect)
    _watch_savepoints(dialect)


def _watch_ends(dialect: Any) -> None:  # noqa: ANN401
    do_commit, do_rollback = dialect.do_commit, dialect.do_rollback

    def commit(dbapi_connection: Any) -> None:  # noqa: ANN401
        do_commit(dbapi_connection)
        _committed(_taken(dbapi_connection.info))

    def rollback(dbapi_connection: Any) -> None:  # noqa: ANN401
        _taken(getattr(dbapi_connection, "info", {}))
        do_rollback(dbapi_connection)

    dialect.do_commit, dialect.do_rollback = commit, rollback


def _watch_twophase(dialect: Any) -> None:  # noqa: ANN401
    do_commit, do_rollback = dialect.do_commit_twophase, dialect.do_rollback_twophase

    def commit(connection: Connection, *args: Any, **kwargs: Any) -> None:
        journal = _taken(connection.info)  # before: COMMIT PREPARED is followed by a ROLLBACK
        do_commit(connection, *args, **kwargs)
        _committed(journal)

    def rollback(connection: Connection, *args: Any, **kwargs: Any) -> None:
        _taken(connection.info)
        do_rollback(connection, *args, **kwargs)

    dialect.do_commit_twophase, dialect.do_rollback_twophase = commit, rollback


def _watch_savepoints(dialect: Any) -> None:  # noqa: ANN401
    begin, roll_back, release = (
        dialect.do_savepoint,
        dialect.do_rollback_to_savepoint,
        dialect.do_release_savepoint,
    )

    def do_savepoint(connection: Connection, name: str) -> None:
        if of := CAPTURE_DIALECTS.find(connection):
            of.begin_before_savepoint(connection)
        begin(connection, name)
        _open(connection).savepoint(name)

    def do_rollback_to_savepoint(connection: Connection, name: str) -> None:
        _open(connection).roll_back_to(name)
        roll_back(connection, name)

    def do_release_savepoint(connection: Connection, name: str) -> None:
        release(connection, name)
        _open(connection).release(name)

    dialect.do_savepoint = do_savepoint
    dialect.do_rollback_to_savepoint = do_rollback_to_savepoint
    dialect.do_release_savepoint = do_release_savepoint


def _open(connection: Connection) -> Journal:
    journal: Journal | None = connection.info.get(_KEY)
    if journal is None:
        journal = connection.info[_KEY] = Journal()
    return journal


def _taken(info: MutableMapping[Any, Any]) -> Journal | None:
    journal: Journal | None = info.pop(_KEY, None)
    return journal


def _committed(journal: Journal | None) -> None:
    if journal is not None:
        journal.committed()
