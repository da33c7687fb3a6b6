"""Follower of a trail: reads the events that were committed since it last looked.

Transactions do not commit in the order of their row ids, so it also remembers the latest ids that
it has seen: a smaller one that appears later is a new event, too.
"""

from __future__ import annotations

from auditspan.cli.commands.target import Events, Trail
from auditspan.reading import by_id_or_label
from auditspan.storage import EventFilter, StoredEvent, find_events, row_ids

_PAGE = 500
_LATE = 1000
"""The number of ids before the latest one among which events may appear later."""


class Follower:
    """Follower of the events that match a filter."""

    def __init__(self, wanted: EventFilter) -> None:
        self._wanted = wanted
        self._last = 0
        self._seen: set[int] = set()

    def newest(self, trail: Trail, limit: int) -> Events:
        """Return the newest events, oldest first, and follow those that are committed later."""
        newest = find_events(*trail, EventFilter(), limit=1)
        ids = row_ids(*trail, newest[0].row_id - _LATE) if newest else set()
        found = find_events(*trail, by_id_or_label(*trail, self._wanted), limit=limit)[::-1]
        self._remember(ids, found)
        return found

    def next(self, trail: Trail) -> Events:
        """Return the events that were committed since the last call; at most a page of new ids."""
        ids = row_ids(*trail, self._last - _LATE)
        wanted = by_id_or_label(*trail, self._wanted)
        late = [_event(trail, wanted, one) for one in sorted(ids - self._seen) if one < self._last]
        found = find_events(*trail, wanted, after=self._last, limit=_PAGE)
        if len(found) == _PAGE:  # later ones are for the next call
            ids = {one for one in ids if one <= found[-1].row_id}
        self._remember(ids, found)
        return [one for one in late if one is not None] + found

    def _remember(self, ids: set[int], found: Events) -> None:
        seen = self._seen | ids | {one.row_id for one in found}
        self._last = max(seen, default=self._last)
        self._seen = {one for one in seen if one >= self._last - _LATE}


def _event(trail: Trail, wanted: EventFilter, row_id: int) -> StoredEvent | None:
    """Return the event of this row if it matches."""
    found = find_events(*trail, wanted, after=row_id - 1, limit=1)
    return found[0] if found and found[0].row_id == row_id else None
