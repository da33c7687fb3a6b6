"""Registry of the captures of this process, by engine and by metadata.

The hooks are installed once for the process and see every session, connection and engine. The
engine and the metadata of its table determine the trail that a change belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, Dialect, Engine, MetaData, Table

from auditspan.capture.writer import Capture
from auditspan.mapping import tables_of
from auditspan.storage import set_up_sqlite

when_changed: list[Callable[[], None]] = []
"""Functions that are called when a capture or one of its engines was registered."""

_by_metadata: WeakKeyDictionary[MetaData, Capture] = WeakKeyDictionary()
_by_engine: WeakKeyDictionary[Dialect, dict[MetaData, Capture]] = WeakKeyDictionary()
_by_url: dict[URL, dict[MetaData, Capture]] = {}
_nowhere: WeakKeyDictionary[MetaData, Capture] = WeakKeyDictionary()
"""Captures whose engine is not known yet: it may be any engine."""


def register(capture: Capture, engines: Iterable[Engine]) -> None:
    """Register a capture for its metadata and, if that has several, for these engines."""
    _by_metadata[capture.metadata] = _nowhere[capture.metadata] = capture
    for engine in engines:
        _by_engine.setdefault(engine.dialect, {}).pop(capture.metadata, None)
        meet(capture, engine)
    _notify()


def meet(capture: Capture, engine: Engine) -> None:
    """Register an engine that is used by sessions of this capture's trail."""
    known = _by_engine.setdefault(engine.dialect, {})
    if capture.metadata in known:
        return
    known[capture.metadata] = capture
    _nowhere.pop(capture.metadata, None)
    if capture.sqlite_settings:
        set_up_sqlite(engine)
    if engine.url.database not in {None, "", ":memory:"}:
        _by_url.setdefault(engine.url, {})[capture.metadata] = capture
    _notify()


def adopt(metadata: MetaData, engine: Engine) -> None:
    """Register an engine that is used for this metadata, if a trail is over the metadata."""
    if metadata in _by_metadata:
        for known in [*_by_url.get(engine.url, {}).values(), _by_metadata[metadata]]:
            meet(known, engine)


def captures_of(connection: Connection) -> list[Capture]:
    """Return every capture that may apply to a statement that only names tables.

    These are the captures of this engine, or of another one to the same database; otherwise those
    without a known engine.
    """
    return list((_known(connection) or _nowhere).values())


def may_record(capture: Capture, connection: Connection, table: Table | None) -> bool:
    """Return whether a write to this table, or by raw SQL, may concern this capture.

    A capture without a known engine is found for every engine, also for those of other databases:
    it takes only writes to tables that have the name of one of its own.
    """
    if table is None or _known(connection):
        return True
    return any(table.name == own.name for own in tables_of(capture.metadata))


def is_met(connection: Connection) -> bool:
    """Return whether a trail is registered for this engine, or another one to its database."""
    return bool(_known(connection))


def _known(connection: Connection) -> dict[MetaData, Capture] | None:
    return _by_engine.get(connection.dialect) or _by_url.get(connection.engine.url)


def _notify() -> None:
    for notify in when_changed:
        notify()
