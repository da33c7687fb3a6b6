"""Conditions that keep a page of a search near the rows that it can contain.

A page is read backwards from its cursor by the primary key. The planner takes matches to be spread
evenly, and would walk over most of a trail to those of one hour a year ago, or read all matches of
a common search term to sort them.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, FromClause, ScalarSelect, Subquery, and_, case, func, select

from auditspan.storage.event_filter import EventFilter

NEAR = 8_000
"""The number of rows before a cursor that are read without an index of what is looked for."""

_FEW = 60_000
"""The number of rows that are counted at most to find out whether a span of time is short."""

_LATER = NEAR
"""The number of rows after a span of time that are read rather than looking for its last row."""

_LAST_FEW = 1_000
"""The number of rows before the end of a span of time among which its last row is expected."""

_LAST = 2**63 - 1


def near_rows(event: FromClause, before: int | None) -> ColumnElement[bool]:
    """Return the condition of the rows shortly before a cursor, or before the end of the trail."""
    newest = select(func.max(event.c.id)).scalar_subquery() if before is None else before
    return event.c.id >= newest - NEAR


def rows_of_times(
    event: FromClause, wanted: EventFilter, before: int | None
) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of ids between the first and the last event of the span of time."""
    if wanted.until is not None and before is None:
        later = _some(event, EventFilter(since=wanted.until), _LATER)
        many = select(func.count() == _LATER).select_from(later).scalar_subquery()
        yield event.c.id <= case((many, _last_id(event, wanted)), else_=_LAST)
    if wanted.since is not None:
        some = _some(event, EventFilter(since=wanted.since, until=wanted.until), _FEW)
        oldest = case((func.count() < _FEW, func.min(some.c.id)), else_=0)
        yield event.c.id >= select(oldest).select_from(some).scalar_subquery()


def _last_id(event: FromClause, wanted: EventFilter) -> ColumnElement[int]:
    """Return the last id in the span of time, by reading the smaller part of the index of times."""
    if wanted.since is not None:
        return _newest(event, wanted)
    some = _some(event, EventFilter(until=wanted.until), _LAST_FEW, newest_first=True)
    last = select(func.max(some.c.id)).scalar_subquery()
    ends = [select(end(event.c.id)).scalar_subquery() for end in (func.min, func.max)]
    is_late = 2 * (ends[1] - last) < last - ends[0]
    # If no newer row is earlier, no late event came after the last ones of the span.
    newer = select(func.count()).where(event.c.id > last)
    later = newer.where(*EventFilter(since=wanted.until).conditions(event))
    is_last = newer.scalar_subquery() == later.scalar_subquery()
    return case((and_(is_late, is_last), last), else_=_newest(event, wanted))


def _newest(event: FromClause, wanted: EventFilter) -> ScalarSelect[int]:
    """Return the last id in the span of time."""
    times = EventFilter(since=wanted.since, until=wanted.until).conditions(event)
    # Plus 0, which keeps the planner from reading the primary key for it.
    return select(func.max(event.c.id + 0)).where(*times).scalar_subquery()


def _some(
    event: FromClause, times: EventFilter, limit: int, *, newest_first: bool = False
) -> Subquery:
    """Return some ids in a span of time, read from the index of times."""
    ids = select(event.c.id).where(*times.conditions(event))
    time = event.c.occurred_at
    return ids.order_by(time.desc() if newest_first else time).limit(limit).subquery()
