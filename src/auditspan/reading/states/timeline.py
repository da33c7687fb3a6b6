"""Timeline of one object: its events in the order of the changes, and its state between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, literal, select

from auditspan.errors import AuditBodyError, AuditConfigError, PurgedError
from auditspan.format import in_change_order, timestamp
from auditspan.mapping import target_id
from auditspan.reading import Event
from auditspan.reading.replay import PARTIAL, Agreement, Fields, Kind, ObjectStore, Replay
from auditspan.reading.replay import Event as ObjectEvent
from auditspan.reading.states.family import Family
from auditspan.reading.states.state import State
from auditspan.reading.states.values import Value, python_value
from auditspan.storage import (
    AuditTables,
    EventFilter,
    StoredEvent,
    begun_purge,
    find_events,
    get_event,
    is_creation,
)

_PAGE = 500

When = datetime | Event | int
"""A time, or the event or the change id with which a state ends."""


class _Replayed(NamedTuple):
    """Result of a replay: one object, its links, and the kinds of the differences found."""

    fields: Fields | None
    links: dict[str, tuple[str, ...]]
    kinds: frozenset[Kind]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Events of one object, and of others of its family whose primary key it had or took over."""

    connection: Connection
    tables: AuditTables
    family: Family
    identity: tuple[Value, ...]

    @property
    def id(self) -> str:
        """The target id of the object."""
        return target_id(self.identity)

    def at(self, when: When) -> State | None:
        """Return the state at a time; None if there was no such object.

        Raises:
            AuditBodyError: an event of the object cannot be read.
            AuditConfigError: the time has no zone, or the trail has no such event.
            PurgedError: the events that would say were removed by a purge.
        """
        events = self._events()
        before = self._until(events, when)
        if not before:
            self._require_known(events, when)
        found = self._replay(before)
        last = self._last(before)
        if found.fields is None or last is None or last.target is None:
            return None
        type_name = last.target.type
        return self._state(type_name, found, last) if type_name in self.family.wanted else None

    def _require_known(self, events: Sequence[StoredEvent], when: When) -> None:
        """Refuse to say that there was no object, if its earlier events were purged."""
        purge = begun_purge(self.connection, self.tables)
        if purge is None:
            return
        is_earlier = isinstance(when, datetime) and timestamp(when) < purge.before
        if is_earlier or (events and not is_creation(events[0])):
            raise PurgedError(
                f"the state is not known: events before {purge.before} were removed by retention "
                f"(event {purge.event_id} of {purge.recorded_at})"
            )

    def _state(self, type_name: str, found: _Replayed, last: Event) -> State:
        fields = dict(found.fields or {})
        is_partial = fields.pop(PARTIAL, None) is not None
        dialect, family = self.connection.dialect, self.family
        values = {
            name: python_value(value, family.column_type(type_name, name), dialect)
            for name, value in fields.items()
        }
        links = dict.fromkeys(family.relationships(type_name), ()) | found.links
        return State(
            type=type_name,
            id=self.id,
            values=MappingProxyType(values),
            recorded=MappingProxyType(fields),
            links=MappingProxyType(links),
            event=last,
            is_complete=not is_partial and found.kinds.isdisjoint({"contradiction", "no-create"}),
        )

    def _events(self) -> list[StoredEvent]:
        """Return the events of the object; those of its other keys too if its key has changed."""
        own = self._events_of({self.id})
        found = self._replay(own)
        has_moved = "contradiction" in found.kinds or any(self._moves(own))
        if not has_moved and (found.fields is None or self._is_live()):
            return own
        moves = [move for page in self._key_changes() for move in self._moves(page)]
        return self._events_of(_connected(self.id, moves)) if moves else own

    def _events_of(self, ids: Collection[str]) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        for type_name in self.family.types:
            for id_ in ids:
                wanted = EventFilter(target_type=type_name, target_id=id_)
                found += (one for page in self._pages(wanted) for one in page)
        found.sort(key=lambda one: one.row_id)
        return in_change_order(found, StoredEvent.change_id)

    def _key_changes(self) -> Iterator[list[StoredEvent]]:
        """Yield the updates of the family that changed a primary key; this reads all updates."""
        for type_name, type_ in self.family.types.items():
            for name in type_.key_names:
                action = f"{type_name}.update"
                yield from self._pages(
                    EventFilter(target_type=type_name, action=action, field=name)
                )

    def _pages(self, wanted: EventFilter) -> Iterator[list[StoredEvent]]:
        last = 0
        while page := find_events(self.connection, self.tables, wanted, after=last, limit=_PAGE):
            yield page
            last = page[-1].row_id

    def _moves(self, events: Iterable[StoredEvent]) -> Iterator[tuple[str, str]]:
        """Yield the former and the new id for each change of a primary key."""
        for one in events:
            members = _members(one)
            type_name, _, verb = members["action"].rpartition(".")
            type_ = self.family.types.get(type_name)
            if verb == "update" and type_ and members["changes"].keys() & {*type_.key_names}:
                event = ObjectEvent.read(members, type_, None)
                yield event.former_key(), event.key

    def _is_live(self) -> bool:
        """Return whether there is a row with this key; then it has not been given another."""
        pairs = zip(self.family.key, self.identity, strict=True)
        row = select(literal(1)).where(and_(*(column == value for column, value in pairs)))
        return self.connection.execute(row).first() is not None

    def _replay(self, events: Sequence[StoredEvent]) -> _Replayed:
        name = self.family.name
        relationships = {(name, field) for one in events for field in _members(one)["changes"]}
        with ObjectStore() as store:
            replay = Replay(
                types=self.family.types,
                links=relationships,
                store=store,
                agreement=Agreement(keys={}),
            )
            for one in events:
                replay.apply(one.row_id, one.body, None, one.disclosures)
            return _Replayed(
                fields=store.get(name, self.id),
                links=_links(store, name, self.id),
                kinds=frozenset(difference.kind for difference in replay.finish()),
            )

    def _last(self, events: Sequence[StoredEvent]) -> Event | None:
        """Return the last event that changed columns of the object."""
        for one in reversed(events):
            event = Event.from_resource(one.resource())
            if event.target and event.target.id == self.id and (event.old or event.new):
                return event
        return None

    def _until(self, events: Sequence[StoredEvent], when: When) -> Sequence[StoredEvent]:
        """Return the events up to the last one that happened by then, in the order of changes."""
        happened = self._condition(events, when)
        last = max((place for place, one in enumerate(events) if happened(one)), default=-1)
        return events[: last + 1]

    def _condition(
        self, events: Sequence[StoredEvent], when: When
    ) -> Callable[[StoredEvent], bool]:
        if isinstance(when, datetime):
            return _by_time(when)
        if isinstance(when, int):
            return lambda one: (change_id := one.change_id()) is not None and change_id <= when
        if any(_members(one)["event_id"] == when.event_id for one in events):
            return lambda one: bool(_members(one)["event_id"] == when.event_id)
        if when.change_id is not None:
            return self._condition(events, when.change_id)
        row_id = self._row_id(when)
        return lambda one: one.row_id <= row_id

    def _row_id(self, event: Event) -> int:
        found = get_event(self.connection, self.tables, event.event_id)
        if found is None:
            raise AuditConfigError(f"the trail has no event {event.event_id!r}: pass one of it")
        return found.row_id


def _by_time(when: datetime) -> Callable[[StoredEvent], bool]:
    if when.tzinfo is None:
        raise AuditConfigError("the time has no time zone: pass an aware datetime")
    try:
        limit = timestamp(when)
    except OverflowError as error:
        raise AuditConfigError(
            "invalid time: in UTC it is outside of the years 1 to 9999"
        ) from error
    return lambda one: bool(_members(one)["occurred_at"] <= limit)


def _members(event: StoredEvent) -> dict[str, Any]:
    try:
        return event.members()
    except AuditBodyError as error:
        raise AuditBodyError(
            f"the state is unknown, because the body of the audit row {event.row_id} cannot be "
            f"read ({error.message}): it was changed; run `auditspan verify`"
        ) from error


def _connected(id_: str, moves: Sequence[tuple[str, str]]) -> set[str]:
    """Return the ids that are connected with one by changes of primary keys."""
    found, size = {id_}, 0
    while len(found) > size:
        size = len(found)
        for move in moves:
            if found & {*move}:
                found |= {*move}
    return found


def _links(store: ObjectStore, name: str, id_: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for place, key, _fields in store.remaining():
        type_name, _, relationship = place.partition("\0")
        if relationship and type_name == name:
            parent, child = json.loads(key)
            if parent == id_:
                found.setdefault(relationship, []).append(child)
    return {relationship: tuple(sorted(ids)) for relationship, ids in found.items()}
