"""Filter of events: conditions in SQL where a column has the value, else checked on the body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import ColumnElement, FromClause, literal_column

from auditspan.format import VIEWED, canonical_json
from auditspan.storage.search_terms import HasTerm

_ESCAPE = "\\"
_SUCCESS = "success"


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Criteria that an event must meet; those that are None do not apply.

    Attributes:
        actor: the id of the actor.
        actor_label: the label of the actor.
        on_behalf_of: the id or the label of the one on whose behalf the actor acted.
        action: an action; each `*` stands for any characters.
        target_type, target_id: the target.
        field: the name of a changed column or member.
        outcome: `success`, `failure` or `unknown`.
        since: the earliest time, aware.
        until: the first time that is too late, aware.
        tx_id, trace_id, request_id, tenant: the transaction, trace, request and tenant.
        text: text anywhere in the body; the case of ASCII letters does not matter.
        exclude: criteria that no event may meet, without `since` and `until`.
        with_views: whether views of the viewer's pages count.
    """

    actor: str | None = None
    actor_label: str | None = None
    on_behalf_of: str | None = None
    action: str | None = None
    target_type: str | None = None
    target_id: str | None = None
    field: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    tx_id: str | None = None
    trace_id: str | None = None
    request_id: str | None = None
    tenant: str | None = None
    text: str | None = None
    exclude: EventFilter | None = None
    with_views: bool = True

    def conditions(self, event: FromClause, *, by_index: bool = True) -> list[ColumnElement[bool]]:
        """Return the conditions in SQL; `matches` checks what they let through.

        Args:
            event: the table.
            by_index: look for terms in their index rather than in the text of each body.
        """
        columns = event.c
        found = [column == value for column, value in self._equal(event)]
        if self.outcome not in {None, _SUCCESS}:
            # As in the condition of the partial index, so that the planner may use it.
            found.append(columns.outcome != literal_column(f"'{_SUCCESS}'"))
        terms = self._terms(columns.body)
        found += terms if by_index else [term.in_text for term in terms]
        if self.action is not None:
            found.append(_action(columns.action, self.action))
        if not self.with_views:
            found.append(columns.action != VIEWED)
        if self.since is not None:
            found.append(columns.occurred_at >= self.since)
        if self.until is not None:
            found.append(columns.occurred_at < self.until)
        found += self._texts(columns.body)
        return found + (self.exclude.exclusions(event) if self.exclude else [])

    def exclusions(self, event: FromClause) -> list[ColumnElement[bool]]:
        """Return conditions in SQL that no event with one of these criteria meets.

        `matches` checks the criteria that only a body has.
        """
        found = [column.is_distinct_from(value) for column, value in self._equal(event)]
        if self.action is not None and "*" not in self.action:
            found.append(event.c.action != self.action)
        return found + [~one for one in self._texts(event.c.body)]

    @property
    def has_terms(self) -> bool:
        """Tell whether a condition uses the index of terms."""
        return any(value is not None for value in self._in_body())

    @property
    def needs_body(self) -> bool:
        """Tell whether SQL alone cannot decide, so that `matches` has to."""
        return (
            self.action is not None
            or self.has_terms
            or (self.exclude is not None and self.exclude.needs_body)
        )

    def matches(self, members: Mapping[str, Any]) -> bool:
        """Check the members of a body, for which no column exists."""
        return all(met for met in self._matches(members)) and not (
            self.exclude and any(self.exclude._matches(members))  # noqa: SLF001 (a filter, too)
        )

    def _matches(self, members: Mapping[str, Any]) -> Iterator[bool]:
        """Yield for each criterion that needs the body whether its members meet it."""
        behalf, request = members["on_behalf_of"] or {}, members["request"] or {}
        if self.action is not None:
            yield fnmatchcase(str(members["action"]), _pattern(self.action))
        if self.actor_label is not None:
            yield self.actor_label == members["actor"]["label"]
        if self.on_behalf_of is not None:
            yield self.on_behalf_of in {behalf.get("id"), behalf.get("label")}
        if self.field is not None:
            yield self.field in members["changes"]
        if self.request_id is not None:
            yield self.request_id == request.get("id")

    def _in_body(self) -> tuple[str | None, ...]:
        return (self.actor_label, self.on_behalf_of, self.field, self.request_id)

    def _equal(self, event: FromClause) -> Iterator[tuple[ColumnElement[Any], str]]:
        columns = event.c
        equal = {
            columns.actor_id: self.actor,
            columns.target_type: self.target_type,
            columns.target_id: self.target_id,
            columns.outcome: self.outcome,
            columns.tx_id: self.tx_id,
            columns.trace_id: self.trace_id,
            columns.tenant: self.tenant,
        }
        return ((column, value) for column, value in equal.items() if value is not None)

    def _terms(self, body: ColumnElement[str]) -> Iterator[HasTerm]:
        if self.actor_label is not None:
            yield HasTerm(body, "label", self.actor_label)
        if self.on_behalf_of is not None:
            yield HasTerm(body, "behalf", self.on_behalf_of)
        if self.field is not None:
            yield HasTerm(body, "field", self.field)
        if self.request_id is not None:
            yield HasTerm(body, "request", self.request_id)

    def _texts(self, body: ColumnElement[str]) -> list[ColumnElement[bool]]:
        if self.text is None:
            return []
        return [body.icontains(canonical_json(self.text)[1:-1], autoescape=True)]


FILTER_NAMES = tuple(
    one.name
    for one in fields(EventFilter)
    if one.name not in {"actor_label", "exclude", "with_views"}
)
"""The names of all criteria; the label is found by `actor`, too."""

EXCLUDABLE = tuple(name for name in FILTER_NAMES if name not in {"since", "until"})
"""The names of the criteria that can exclude events."""


def _action(column: ColumnElement[str], wanted: str) -> ColumnElement[bool]:
    if "*" not in wanted:
        return column == wanted
    escaped = wanted.replace(_ESCAPE, _ESCAPE * 2).replace("%", r"\%").replace("_", r"\_")
    return column.like(escaped.replace("*", "%"), escape=_ESCAPE)


def _pattern(action: str) -> str:
    """Return a pattern for `fnmatch` in which only `*` is special."""
    return action.replace("[", "[[]").replace("?", "[?]")
