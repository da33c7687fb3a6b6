"""Undoing of recorded changes."""

from __future__ import annotations

from sqlalchemy import MetaData, select
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.orm import Session

from auditspan.context import audit_context
from auditspan.errors import RevertError
from auditspan.format import MacKey
from auditspan.reading import Event, read_history
from auditspan.reading.replay import Agreement
from auditspan.reading.states.family import Family, family_of_type
from auditspan.reading.states.link_reversal import Changes, LinkReversal, link_changes
from auditspan.reading.states.reversal import Reversal
from auditspan.storage import AuditTables

METADATA = "reverts"
"""The member of the metadata that names the event that was undone."""

_VERBS = frozenset({"create", "update", "delete"})


def revert_event(
    session: Session,
    tables: AuditTables,
    metadata: MetaData,
    event: Event,
    *,
    mac_key: MacKey | None,
    force: bool,
) -> object | None:
    """Undo a change through the session, in a savepoint; return the object, or None if deleted."""
    family = _family(event, metadata)
    session.flush()
    undoing = _Undoing(session, tables, event, family, mac_key, force=force)
    try:
        with session.begin_nested(), audit_context(metadata={METADATA: event.event_id}):
            found = undoing.run()
            session.flush()
    except OperationalError:  # a deadlock, which the application retries
        raise
    except StatementError as error:
        raise RevertError(
            f"{event.action} was not undone, because the database refused it: see the error above"
        ) from error
    session.expire_all()
    return found


class _Undoing:
    """One event that is undone."""

    def __init__(
        self,
        session: Session,
        tables: AuditTables,
        event: Event,
        family: Family,
        mac_key: MacKey | None,
        *,
        force: bool,
    ) -> None:
        self._tables, self._event, self._family = tables, event, family
        type_name, _, self._verb = event.action.rpartition(".")
        arguments = {"mapper": family.mappers[type_name]}
        self._connection = session.connection(bind_arguments=arguments)
        self._id = str(event.target.id if event.target else None)
        self._links = LinkReversal(
            session=session, family=family, type_name=type_name, id=self._id, force=force
        )
        self._columns = Reversal(
            session=session,
            event=event,
            family=family,
            agreement=Agreement(keys={mac_key.key_id: mac_key} if mac_key else {}),
            mac_key_id=self._mac_key_id(),
            force=force,
        )

    def run(self) -> object | None:
        """Undo the event; return the object, or None if it is deleted."""
        if self._verb == "create":
            self._columns.create()
            return None
        if self._verb == "delete":
            found = self._columns.delete()
            self._links.revert(self._unlinked())
            return found
        found = self._columns.update()
        self._links.revert(link_changes(self._event.changes))
        return found

    def _unlinked(self) -> Changes:
        """Return the links that the transaction of a deletion removed."""
        found: dict[str, dict[str, None]] = {}
        for one in self._of_transaction():
            for name, change in link_changes(one.changes).items():
                ids = found.setdefault(name, {})
                ids |= dict.fromkeys(change.get("removed", ()))
                for child in change.get("added", ()):
                    ids.pop(child, None)
        return {name: {"removed": [*ids]} for name, ids in found.items()}

    def _of_transaction(self) -> list[Event]:
        """Return the events of the object in the same transaction, in the order of the changes."""
        found: list[Event] = []
        for type_name in self._family.types:
            events = read_history(self._connection, self._tables, type_name, self._id)
            found += (one for one in events if one.tx_id == self._event.tx_id)
        return sorted(found, key=lambda one: one.change_id or 0)

    def _mac_key_id(self) -> str | None:
        row = self._tables.event.c
        found = select(row.mac_key_id).where(row.event_id == self._event.event_id)
        return self._connection.execute(found).scalar()


def _family(event: Event, metadata: MetaData) -> Family:
    """Return the family of the event's target.

    Raises:
        RevertError: the event is not a change of one object of a model.
    """
    type_name, _, verb = event.action.rpartition(".")
    target = event.target
    if event.unreadable is not None:
        reason = "its body cannot be read: run `auditspan verify`"
    elif verb not in _VERBS or not event.changes or event.outcome == "failure":
        reason = "it is not a creation, an update or a deletion of one object"
    elif target is None or target.id is None or target.type != type_name:
        reason = "it names no single object"
    else:
        family = family_of_type(type_name, metadata)
        if family is not None:
            return family
        reason = f"no mapped class of this trail has the target type {type_name!r}"
    raise RevertError(
        f"the event {event.event_id} ({event.action}) was not undone, because {reason}"
    )
