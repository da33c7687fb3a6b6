"""Kinds of sessions that a trail can be attached to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from sqlalchemy import Engine, Table, create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from auditspan.capture import Capture, attach
from auditspan.errors import AuditConfigError
from auditspan.storage import set_up_sqlite
from auditspan.storage.dialects import require_supported

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker

Sessions: TypeAlias = (
    "sessionmaker[Any] | scoped_session[Any] | async_sessionmaker[Any] | async_scoped_session[Any]"
    " | type[Session]"
)
"""A factory of sessions; Flask-SQLAlchemy's `db.session` is one."""

_attached: WeakSet[Any] = WeakSet()
"""The session factories and classes that a trail is attached to."""


def target_without_trail(sessions: Any) -> Any:  # noqa: ANN401
    """Return the target to listen on for SQLAlchemy's events of sessions that have no trail yet.

    Raises:
        AuditConfigError: not sessions, or sessions with a trail or an unsupported database.
    """
    target = hook_target(sessions)
    if target in _attached:
        raise AuditConfigError(
            "these sessions already have an audit trail: create one AuditTrail per session "
            "factory, and pass it around"
        )
    for engine in engines_of(target):
        require_supported(engine.dialect)
    return target


def attach_trail(capture: Capture, target: Any) -> None:  # noqa: ANN401
    """Capture what sessions write, by their `target_without_trail`."""
    attach(capture, target, engines_of(target))
    _attached.add(target)


def hook_target(sessions: Any) -> Any:  # noqa: ANN401
    """Return the target to listen on for SQLAlchemy's events of these sessions."""
    if isinstance(sessions, scoped_session) or is_of_asyncio(sessions, "async_scoped_session"):
        return hook_target(sessions.session_factory)
    if is_of_asyncio(sessions, "async_sessionmaker"):
        return _audited_sync_class(sessions)
    if isinstance(sessions, sessionmaker) or (
        isinstance(sessions, type) and issubclass(sessions, Session)
    ):
        return sessions
    raise AuditConfigError(
        f"AuditTrail takes a sessionmaker, a scoped_session or their async forms, not a "
        f"{type(sessions).__name__}: hooks on a single session would miss every other one"
    )


@contextmanager
def own_transaction(sessions: Sessions) -> Iterator[Session]:
    """Open a session and a transaction, which commits when the block ends.

    Raises:
        AuditConfigError: the sessions are asynchronous.
    """
    with session_factory(sessions)() as session, session.begin():
        yield session


def is_of_asyncio(sessions: Any, name: str) -> bool:  # noqa: ANN401
    """Return whether `sessions` is an instance of this class of `sqlalchemy.ext.asyncio`.

    SQLAlchemy 2.1 does not import that module without greenlet, which it does not install by
    default; a program that has not imported it has none of its sessions.
    """
    kind = getattr(sys.modules.get("sqlalchemy.ext.asyncio"), name, None)
    return isinstance(kind, type) and isinstance(sessions, kind)


def _audited_sync_class(sessions: async_sessionmaker[Any]) -> type[Session]:
    """Return a Session class for this factory only, since async sessions have no events."""
    current: type[Session] = sessions.kw.get("sync_session_class", Session)
    if current in _attached:
        return current
    own = type("AuditedSession", (current,), {})
    sessions.configure(sync_session_class=own)
    return own


def engines_of(target: Any) -> list[Engine]:  # noqa: ANN401
    """Return the engines that these sessions are known to use; others are registered later."""
    settings = target.kw if isinstance(target, sessionmaker) else {}
    binds = [settings.get("bind"), *(settings.get("binds") or {}).values()]
    return [getattr(bind, "sync_engine", bind).engine for bind in binds if bind is not None]


def session_factory(sessions: Any) -> Callable[[], Session]:  # noqa: ANN401
    """Return the factory of new sessions, which ignores the scopes of a scoped one.

    Raises:
        AuditConfigError: the sessions are asynchronous.
    """
    found: Any = getattr(sessions, "session_factory", sessions)
    if is_of_asyncio(found, "async_sessionmaker"):
        raise AuditConfigError(
            "this requires synchronous sessions: with asynchronous ones, await "
            "session.run_sync(trail.record, action, ...) in a session of its own"
        )
    factory: Callable[[], Session] = found
    return factory


def engine_of(sessions: Any, table: Table) -> Engine:  # noqa: ANN401
    """Return the engine of these sessions for this table.

    Raises:
        SQLAlchemyError: the sessions are not bound to an engine.
    """
    found: Any = getattr(sessions, "session_factory", sessions)
    if is_of_asyncio(found, "async_sessionmaker"):
        bind: Any = found.kw["bind"].sync_engine
    else:
        with session_factory(sessions)() as session:
            bind = session.get_bind(clause=table)
    engine: Engine = bind.engine
    return engine


_DRIVERS = {"postgresql+asyncpg": "postgresql+psycopg", "sqlite+aiosqlite": "sqlite"}


@contextmanager
def synchronous(engine: Engine) -> Iterator[Engine]:
    """Yield this engine, or if it is asynchronous, a temporary one for the same database."""
    if not engine.dialect.is_async:
        yield engine
        return
    driver = _DRIVERS.get(engine.url.drivername, engine.url.drivername)
    own = set_up_sqlite(create_engine(engine.url.set(drivername=driver), hide_parameters=True))
    try:
        yield own
    finally:
        own.dispose()
