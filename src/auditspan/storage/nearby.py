"""Conditions that keep a page of a search near the rows that it can contain.

A page is read backwards from its cursor by the primary key. The planner takes matches to be spread
evenly, and would walk over most of a trail to those of one hour a year ago, or read all matches of
a common search term to sort them.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, FromClause, Select, case, func, select

from auditspan.storage.event_filter import EventFilter

NEAR = 8_000
"""The number of rows before a cursor that are read without an index of what is looked for."""

_FEW = 20_000
"""The number of rows up to which the oldest row of a span of time is looked for."""


def near_rows(event: FromClause, before: int | None) -> ColumnElement[bool]:
    """Return the condition of the rows shortly before a cursor, or before the end of the trail."""
    newest = select(func.max(event.c.id)).scalar_subquery() if before is None else before
    return event.c.id >= newest - NEAR


def rows_of_times(
    event: FromClause, wanted: EventFilter, before: int | None
) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of ids between the first and the last event of the span of time."""
    if wanted.until is not None and before is None:
        yield event.c.id <= _within(select(func.max(_id(event))), event, wanted).scalar_subquery()
    if wanted.since is not None:
        some = _within(select(event.c.id), event, wanted).limit(_FEW).subquery()
        count = select(func.count()).select_from(some).scalar_subquery()
        first = _within(select(func.min(_id(event))), event, wanted).scalar_subquery()
        yield event.c.id >= case((count < _FEW, first), else_=0)


def _id(event: FromClause) -> ColumnElement[int]:
    """Return the id in a form that keeps the planner from reading the primary key for it."""
    found: ColumnElement[int] = event.c.id + 0
    return found


def _within(
    statement: Select[tuple[int]], event: FromClause, wanted: EventFilter
) -> Select[tuple[int]]:
    times = EventFilter(since=wanted.since, until=wanted.until)
    return statement.select_from(event).where(*times.conditions(event))
