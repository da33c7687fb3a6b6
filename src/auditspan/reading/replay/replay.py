"""Replay of a trail: the state of every object after its events, in their order.

A create adds an object; an update changes the fields that it names, whose current values must be
the event's old values; a delete removes an object, whose state must match the event; a baseline
states all fields of an object that is older than the trail. A mismatch is a difference, and the
replay continues with the event's values, so that one gap is reported once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from auditspan.errors import AuditBodyError
from auditspan.format import Json, counted, may_have_commitments, read_body, with_values
from auditspan.reading.replay.difference import Difference, Kind
from auditspan.reading.replay.equality import Agreement
from auditspan.reading.replay.events import Change, Event, link_key, link_place
from auditspan.reading.replay.object_store import Fields, ObjectStore
from auditspan.reading.replay.object_types import ObjectType

PARTIAL = "$partial"
"""Marks an object whose history does not begin with a create or a baseline.

Its value is the id of the first event. It is not a possible column name.
"""

_CHANGES = frozenset({"create", "update", "delete", "baseline"})
_STATEMENT = "statement"
_NONE: Mapping[str, str | None] = {}
_UNREADABLE = (
    *(AuditBodyError, AttributeError, KeyError, IndexError, RecursionError, TypeError, ValueError),
)
"""Errors that an invalid body can raise."""


@dataclass(kw_only=True)
class Replay:
    """Replay of events in the order in which they are given.

    Attributes:
        types: the known types by name.
        links: the known link tables by type and relationship.
        store: holds the objects and the links between them.
        agreement: compares an event's old value with the replayed one.
        is_purged: whether a purge has removed the beginning of the trail; then the history of an
            object may begin with a change, if the object is deleted later or has a baseline.
        events: the number of events applied so far.
        differences: the mismatches found so far.
    """

    types: Mapping[str, ObjectType]
    links: Collection[tuple[str, str]]
    store: ObjectStore
    agreement: Agreement
    is_purged: bool = False
    events: int = 0
    differences: list[Difference] = field(default_factory=list)
    _statements: Counter[str] = field(default_factory=Counter)
    _unknown: Counter[str] = field(default_factory=Counter)
    _displaced: dict[tuple[str, str], list[Fields]] = field(default_factory=dict)
    _completed: set[str] = field(default_factory=set)

    def apply(
        self,
        row_id: int,
        body: str,
        mac_key_id: str | None,
        disclosures: Mapping[str, str | None] = _NONE,
    ) -> None:
        """Apply one event, with the disclosures of its erasable values by commitment."""
        try:
            members = read_body(body)
            if may_have_commitments(body):
                members = with_values(members, disclosures)
            self._apply(members, mac_key_id)
        except _UNREADABLE:
            unreadable = Difference(kind="unreadable", table="audit_event", key=str(row_id))
            self.differences.append(unreadable)

    def finish(self) -> list[Difference]:
        """Return all differences; call this after the last event."""
        for name, key in self._displaced:
            type_ = self.types[name]
            twice = Difference(kind="contradiction", table=type_.table, key=key)
            self.differences.append(twice)
        self.differences += self._notices()
        return [one for one in self.differences if not self._is_completed(one)]

    def _apply(self, members: Mapping[str, Any], mac_key_id: str | None) -> None:
        name, _, verb = members["action"].rpartition(".")
        if verb == _STATEMENT:
            self._statements[(members["target"] or {}).get("type") or name] += 1
        elif verb in _CHANGES and _has_changed(members):
            type_ = self.types.get(name)
            if type_ is None:
                self._unknown[name] += 1
                return
            self.events += 1
            self._change(verb, Event.read(members, type_, mac_key_id))

    def _change(self, verb: str, event: Event) -> None:
        if verb == "baseline":
            self._baseline(event)
            return
        for relationship, change in event.links.items():
            self._link(event, relationship, change)
        if verb == "create":
            self._create(event)
        elif verb == "delete":
            self._delete(event)
        elif event.changes:
            self._update(event)

    def _create(self, event: Event) -> None:
        if self.store.get(event.type.name, event.key) is not None:
            self.differences.append(event.difference("contradiction"))
        self.store.put(event.type.name, event.key, event.applied_to({}))

    def _baseline(self, event: Event) -> None:
        """Apply the state of a row that is older than the trail; it may repeat what is known."""
        for relationship, change in event.links.items():
            for child in change.get("added", ()):
                place = link_place(event.type.name, relationship)
                self.store.put(place, link_key(event.key, child), {})
        if not event.changes:
            return
        known = self.store.get(event.type.name, event.key) or {}
        for name, change in event.changes.items():
            new = event.value(change, "new")
            if name in known and not self._agree(event, name, known[name], new):
                self._misfit("contradiction", event, name, recorded=known[name], live=new)
        self._completed.add(str(known.get(PARTIAL)))
        self.store.put(event.type.name, event.key, event.applied_to({}))

    def _is_completed(self, difference: Difference) -> bool:
        """Return whether a baseline or, after a purge, a delete followed."""
        return difference.kind == "no-create" and difference.event_id in self._completed

    def _update(self, event: Event) -> None:
        former = event.former_key()
        fields = self._take(event, former)
        if fields is None:
            self.differences.append(event.difference("no-create"))
            fields = {PARTIAL: event.id}
        else:
            self._check_old(event, fields)
        self._place(event, former, event.applied_to(fields))

    def _delete(self, event: Event) -> None:
        fields = self._take(event, event.key)
        if fields is None:
            if not self.is_purged:
                self.differences.append(event.difference("no-create"))
            return
        if self.is_purged:
            self._completed.add(str(fields.get(PARTIAL)))
        self._check_old(event, fields)

    def _take(self, event: Event, key: str) -> Fields | None:
        """Remove the object at a key; an object that was moved there meanwhile replaces it."""
        place = (event.type.name, key)
        fields = self.store.pop(*place)
        if place in self._displaced:
            waiting = self._displaced[place]
            self.store.put(*place, waiting.pop(0))
            if not waiting:
                del self._displaced[place]
        return fields

    def _place(self, event: Event, former: str, fields: Fields) -> None:
        # `UPDATE … SET id = id + 1` is valid as a whole, but row by row, an id may still belong
        # to the row that moves next.
        place = (event.type.name, event.key)
        if former != event.key and self.store.get(*place) is not None:
            self._displaced.setdefault(place, []).append(fields)
        else:
            self.store.put(*place, fields)

    def _check_old(self, event: Event, fields: Fields) -> None:
        for name, change in event.changes.items():
            if "old" not in change or name in event.type.ignored:
                continue
            old = event.value(change, "old")
            if name not in fields:
                if PARTIAL not in fields and old is not None:  # audited since then
                    self.differences.append(event.difference("no-history", name, live=old))
            elif not self._agree(event, name, fields[name], old):
                self.differences.append(
                    event.difference("contradiction", name, recorded=fields[name], live=old)
                )

    def _agree(self, event: Event, name: str, one: Json, other: Json) -> bool:
        return self.agreement.holds(name, one, other, zoned=name in event.type.zoned)

    def _link(self, event: Event, relationship: str, change: Change) -> None:
        """Apply a change of links; each is an object, so a parent may have any number of them."""
        link = (event.type.name, relationship)
        if link not in self.links:
            self._unknown[".".join(link)] += 1
            return
        for child in change.get("removed", ()):
            known = self.store.pop(link_place(*link), link_key(event.key, child))
            if known is None and not self.is_purged:
                self._misfit("no-create", event, relationship, live=child)
        for child in change.get("added", ()):
            if self.store.get(link_place(*link), link_key(event.key, child)) is not None:
                self._misfit("contradiction", event, relationship, recorded=child)
            self.store.put(link_place(*link), link_key(event.key, child), {})

    def _misfit(self, kind: Kind, event: Event, name: str, **values: Json) -> None:
        self.differences.append(event.difference(kind, name, **values))

    def _notices(self) -> Iterator[Difference]:
        for name, count in sorted(self._statements.items()):
            table = self.types[name].table if name in self.types else name
            yield _notice("unaudited-statement", table, count)
        for name, count in sorted(self._unknown.items()):
            yield _notice("unknown-type", name, count)


def _has_changed(members: Mapping[str, Any]) -> bool:
    """Return whether an event has changed anything; explicit events and failures have not."""
    return bool(members["changes"]) and members["outcome"] != "failure"


def _notice(kind: Kind, table: str, count: int) -> Difference:
    return Difference(kind=kind, table=table, recorded=counted(count, "event"))
