"""Kinds of sessions that a trail can be attached to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from sqlalchemy import Engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from auditspan.dialects import require_supported
from auditspan.errors import AuditConfigError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker

Sessions: TypeAlias = (
    "sessionmaker[Any] | scoped_session[Any] | async_sessionmaker[Any] | async_scoped_session[Any]"
    " | type[Session]"
)
"""A factory of sessions; Flask-SQLAlchemy's `db.session` is one."""

attached: WeakSet[Any] = WeakSet()
"""The session factories and classes that a trail is attached to."""


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
    if current in attached:
        return current
    own = type("AuditedSession", (current,), {})
    sessions.configure(sync_session_class=own)
    return own


def require_supported_binds(target: Any) -> None:  # noqa: ANN401
    """Refuse sessions of an unsupported database.

    Raises:
        AuditConfigError: the database is unsupported (`require_supported`).
    """
    for engine in engines_of(target):
        require_supported(engine.dialect)


def engines_of(target: Any) -> list[Engine]:  # noqa: ANN401
    """Return the engines that these sessions are known to use; others are registered later."""
    settings = target.kw if isinstance(target, sessionmaker) else {}
    binds = [settings.get("bind"), *(settings.get("binds") or {}).values()]
    return [getattr(bind, "sync_engine", bind).engine for bind in binds if bind is not None]
