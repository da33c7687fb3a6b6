"""The unit of work: hooks on mappers and sessions.

The mapper hooks see every object that a flush inserts, updates or deletes, in the order of the
statements, also those that only cascades reach. `after_flush` writes their rows on the same
connection, so they commit with the change or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, event, inspect
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction, UOWTransaction

from auditspan.auditedmodel import AuditedModel
from auditspan.capture.cascades import Affected
from auditspan.capture.flush import Flush
from auditspan.capture.transactions import journal_of
from auditspan.capture.writer import Capture, meet
from auditspan.diff import Changes
from auditspan.errors import UnauditedWriteError
from auditspan.policy import audited_model
from auditspan.record import AuditRecord, Target
from auditspan.recorder import Surroundings
from auditspan.values import (
    Change,
    Values,
    Verb,
    complete,
    describe,
    new_values,
    old_values,
    target_id,
)

_BATCH = 100
"""Records that are made before they are written: those of a large flush are never all in memory,
and so many fit the processor's cache."""

_KEY = "auditspan"
"""Where a session under a trail keeps its `_Tracked` in `Session.info`."""


@dataclass(frozen=True, eq=False)
class _Tracked:
    """What a session under a trail remembers of its running flush."""

    capture: Capture
    connections: dict[Connection, Flush] = field(default_factory=dict)


def listen(capture: Capture, sessions: Any) -> None:  # noqa: ANN401 (a target as SQLAlchemy has it)
    """Put the sessions of a factory under a trail."""

    def before_flush(session: Session, _context: UOWTransaction, _objects: object) -> None:
        session.info[_KEY] = _Tracked(capture)

    def after_begin(_session: Session, _begun: SessionTransaction, connection: Connection) -> None:
        meet(capture, connection.engine)

    event.listen(sessions, "after_begin", after_begin)
    event.listen(sessions, "before_flush", before_flush)
    event.listen(sessions, "after_flush", _after_flush)


def is_tracked(session: Session) -> bool:
    """Whether the session has flushed under a trail."""
    return isinstance(session.info.get(_KEY), _Tracked)


def _after_flush(session: Session, _context: UOWTransaction) -> None:
    tracked: _Tracked = session.info[_KEY]
    for connection, flush in tracked.connections.items():
        journal_of(connection).flush = None
        complete(connection, [item for item in flush.items if isinstance(item, Change)])
        records = _records(tracked.capture, connection, flush)
        while batch := list(islice(records, _BATCH)):
            tracked.capture.write(connection, batch)
    tracked.connections.clear()


def _records(capture: Capture, connection: Connection, flush: Flush) -> Iterable[AuditRecord]:
    tx_id = capture.tx_id(connection)
    surroundings = None  # asked for only where something has changed
    for item in flush.items:
        if isinstance(item, AuditRecord):
            yield item
        elif isinstance(item, Affected):
            for batch in item.changed(connection):
                yield from capture.records(connection, batch)
        elif (changes := describe(item, capture.mac_key)) is not None:
            surroundings = surroundings or capture.recorder.surroundings()
            yield _record(capture, item, changes, tx_id, surroundings)


def _record(
    capture: Capture, change: Change, changes: Changes, tx_id: str, surroundings: Surroundings
) -> AuditRecord:
    target = Target(type=change.model.type, id=target_id(change.identity), version=change.version)
    return capture.recorder.record(
        f"{change.model.type}.{change.verb}",
        tx_id=tx_id,
        surroundings=surroundings,
        target=target,
        changes=changes,
    )


def _before(verb: Verb) -> Callable[[Mapper[Any], Connection, Any], None]:
    def hook(mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
        model = audited_model(mapper)
        if model is None:
            return
        flush = _flush_of(state, connection, model, verb)
        flush.open[state] = _old_values(connection, mapper, state, model, verb)

    return hook


def _old_values(
    connection: Connection,
    mapper: Mapper[Any],
    state: InstanceState[Any],
    model: AuditedModel,
    verb: Verb,
) -> Values:
    if verb == "create":
        replaced = _replaced(mapper, state)
        if replaced is None:
            return {}
        state, verb = replaced, "delete"
    rewritten = journal_of(connection).rewritten
    is_stale = bool(rewritten) and not rewritten.isdisjoint(mapper.tables)
    return old_values(connection, mapper, state, model, verb, is_stale=is_stale)


def _replaced(mapper: Mapper[Any], state: InstanceState[Any]) -> InstanceState[Any] | None:
    """The deleted object whose row a new one takes over: its INSERT becomes an UPDATE."""
    session = state.session
    if session is None or not session._deleted:  # noqa: SLF001 (`deleted` is made anew each time)
        return None
    key = mapper._identity_key_from_state(state)  # noqa: SLF001 (there is no public form of a state)
    other = session.identity_map.get(key)
    if other is None or other not in session.deleted:
        return None
    replaced: InstanceState[Any] = inspect(other)
    return replaced


def _after(verb: Verb) -> Callable[[Mapper[Any], Connection, Any], None]:
    def hook(mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
        model = audited_model(mapper)
        if model is None:
            return
        flush = _flush_of(state, connection, model, verb)
        old = flush.open.pop(state, {})
        new = {} if verb == "delete" else new_values(state, model, verb, old)
        flush.items.append(
            Change(verb=verb, model=model, mapper=mapper, state=state, old=old, new=new)
        )

    return hook


def _flush_of(
    state: InstanceState[Any], connection: Connection, model: AuditedModel, verb: Verb
) -> Flush:
    session = state.session
    tracked = session.info.get(_KEY) if session else None
    if not isinstance(tracked, _Tracked):
        raise UnauditedWriteError(
            f"{model.type}.{verb} was refused: this session is under no audit trail. Give its "
            "sessionmaker to AuditTrail(...), or use the one that has been given to it"
        )
    flush = tracked.connections.get(connection)
    if flush is None:
        flush = tracked.connections[connection] = journal_of(connection).flush = Flush()
    return flush


# Once per process: which trail writes is a matter of the session, not of the class. Raw hooks are
# given an object's state, which is all that they want of it.
event.listen(Mapper, "before_insert", _before("create"), raw=True)
event.listen(Mapper, "before_update", _before("update"), raw=True)
event.listen(Mapper, "before_delete", _before("delete"), raw=True)
event.listen(Mapper, "after_insert", _after("create"), raw=True)
event.listen(Mapper, "after_update", _after("update"), raw=True)
event.listen(Mapper, "after_delete", _after("delete"), raw=True)
