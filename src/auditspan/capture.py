"""From a flush to audit rows: the hooks on mappers and sessions.

The mapper hooks see every object that the unit of work inserts, updates or deletes, in the order
of the statements, also those that only cascades reach. `after_flush` writes their rows in one
INSERT on the same connection, so they commit with the change or not at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import (
    InstanceState,
    Mapper,
    Session,
    SessionTransaction,
    UOWTransaction,
    object_session,
)

from auditspan.errors import AuditWriteError, UnauditedWriteError
from auditspan.journal import Journal
from auditspan.mac import MacKey
from auditspan.policy import AuditedModel, audited_model
from auditspan.record import AuditRecord, Target
from auditspan.recorder import Recorder
from auditspan.store import insert_records
from auditspan.tables import AuditTables, require_supported
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

_KEY = "auditspan"
"""Where a session keeps its `_Flush` in `Session.info`."""


@dataclass(eq=False)
class _Tracked:
    """What a session under a trail remembers."""

    journal: Journal
    old: dict[InstanceState[Any], Values] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Capture:
    """The session hooks of one trail."""

    tables: AuditTables
    recorder: Recorder
    mac_key: MacKey | None
    announce: Callable[[Sequence[AuditRecord]], None]

    def listen(self, sessions: Any) -> None:  # noqa: ANN401 (whatever SQLAlchemy takes as target)
        """Install the hooks on a session factory."""
        event.listen(sessions, "before_flush", self._before_flush)
        event.listen(sessions, "after_flush", self._after_flush)
        event.listen(sessions, "after_rollback", self._after_rollback)
        event.listen(sessions, "after_commit", self._after_commit)
        event.listen(sessions, "after_transaction_end", self._after_transaction_end)

    def write(self, session: Session, connection: Connection, records: list[AuditRecord]) -> None:
        """Insert records in the caller's transaction and announce them when it has committed.

        Raises:
            AuditWriteError: they could not be written. The caller MUST let the transaction fail.
        """
        require_supported(connection.dialect)
        try:
            insert_records(connection, self.tables, records, self.mac_key)
        except SQLAlchemyError as error:
            raise AuditWriteError(
                "the audit row could not be written, so the change was refused with it: look at "
                "the error above, and see that the audit tables exist (`auditspan db check`)"
            ) from error
        self._tracked(session).journal.add(session, records)

    def tx_id(self, session: Session) -> str:
        """The id of the session's running transaction."""
        return self._tracked(session).journal.tx_id(session)

    def _tracked(self, session: Session) -> _Tracked:
        tracked = session.info.get(_KEY)
        if not isinstance(tracked, _Tracked):
            tracked = session.info[_KEY] = _Tracked(Journal(self.recorder.new_id))
        return tracked

    def _before_flush(self, session: Session, _context: UOWTransaction, _objects: object) -> None:
        tracked = self._tracked(session)
        tracked.old.clear()
        tracked.changes.clear()

    def _after_flush(self, session: Session, _context: UOWTransaction) -> None:
        tracked = self._tracked(session)
        changes, tracked.changes = tracked.changes, []
        complete(session, changes)
        written: defaultdict[Connection, list[AuditRecord]] = defaultdict(list)
        tx_id = tracked.journal.tx_id(session) if changes else ""
        for change in changes:
            record = self._record(change, tx_id)
            if record is not None:
                mapper = {"mapper": change.mapper}
                written[session.connection(bind_arguments=mapper)].append(record)
        for connection, records in written.items():
            self.write(session, connection, records)

    def _record(self, change: Change, tx_id: str) -> AuditRecord | None:
        described = describe(change, self.mac_key)
        if change.verb == "update" and not described:
            return None
        target = Target(
            type=change.model.type, id=target_id(change.identity), version=change.version
        )
        action = f"{change.model.type}.{change.verb}"
        return self.recorder.record(action, tx_id=tx_id, target=target, changes=described)

    def _after_rollback(self, session: Session) -> None:
        self._tracked(session).journal.rolled_back(session)

    def _after_commit(self, session: Session) -> None:
        self._tracked(session).journal.committed(session)

    def _after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        self.announce(self._tracked(session).journal.ended(transaction))


def _before(verb: Verb) -> Callable[[Mapper[Any], Connection, Any], None]:
    def hook(mapper: Mapper[Any], _connection: Connection, target: Any) -> None:  # noqa: ANN401
        model = audited_model(mapper)
        if model is None:
            return
        session, tracked = _of(target, model, verb)
        state = inspect(target)
        tracked.old[state] = old_values(session, mapper, state, model, verb)

    return hook


def _after(verb: Verb) -> Callable[[Mapper[Any], Connection, Any], None]:
    def hook(mapper: Mapper[Any], _connection: Connection, target: Any) -> None:  # noqa: ANN401
        model = audited_model(mapper)
        if model is None:
            return
        _session, tracked = _of(target, model, verb)
        state = inspect(target)
        old = tracked.old.pop(state, {})
        new = {} if verb == "delete" else new_values(state, model, verb, old)
        tracked.changes.append(
            Change(verb=verb, model=model, mapper=mapper, state=state, old=old, new=new)
        )

    return hook


def _of(target: object, model: AuditedModel, verb: Verb) -> tuple[Session, _Tracked]:
    session = object_session(target)
    tracked = session.info.get(_KEY) if session else None
    if session is None or not isinstance(tracked, _Tracked):
        raise UnauditedWriteError(
            f"{model.type}.{verb} was refused: this session is under no audit trail. Give its "
            "sessionmaker to AuditTrail(...), or use the one that has been given to it"
        )
    return session, tracked


# Once per process: which trail writes is a matter of the session, not of the class.
event.listen(Mapper, "before_update", _before("update"))
event.listen(Mapper, "before_delete", _before("delete"))
event.listen(Mapper, "after_insert", _after("create"))
event.listen(Mapper, "after_update", _after("update"))
event.listen(Mapper, "after_delete", _after("delete"))
