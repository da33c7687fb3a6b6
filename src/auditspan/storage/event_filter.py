"""Filter of events: conditions in SQL where a column has the value, else checked on the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import ColumnElement, FromClause

from auditspan.format import canonical_json

_ESCAPE = "\\"


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

    def conditions(self, event: FromClause) -> list[ColumnElement[bool]]:
        """Return the conditions in SQL; `matches` checks what they let through."""
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
        found: list[ColumnElement[bool]] = [
            column == value for column, value in equal.items() if value is not None
        ]
        found += [columns.body.contains(piece, autoescape=True) for piece in self._pieces()]
        if self.action is not None:
            found.append(_action(columns.action, self.action))
        if self.since is not None:
            found.append(columns.occurred_at >= self.since)
        if self.until is not None:
            found.append(columns.occurred_at < self.until)
        if self.text is not None:
            escaped = canonical_json(self.text)[1:-1]
            found.append(columns.body.icontains(escaped, autoescape=True))
        return found

    @property
    def needs_body(self) -> bool:
        """Tell whether SQL alone cannot decide, so that `matches` has to."""
        return self.action is not None or any(True for _ in self._pieces())

    def matches(self, members: Mapping[str, Any]) -> bool:
        """Check the members of a body, for which no column exists."""
        behalf, request = members["on_behalf_of"] or {}, members["request"] or {}
        return (
            (self.action is None or fnmatchcase(str(members["action"]), _pattern(self.action)))
            and self.actor_label in {None, members["actor"]["label"]}
            and self.on_behalf_of in {None, behalf.get("id"), behalf.get("label")}
            and (self.field is None or self.field in members["changes"])
            and self.request_id in {None, request.get("id")}
        )

    def _pieces(self) -> list[str]:
        """Return text that the canonical body of every match contains."""
        pieces = {
            '"label":{}': self.actor_label,
            "{}": self.on_behalf_of,
            "{}:{{": self.field,
            '"id":{}': self.request_id,
        }
        return [
            piece.format(canonical_json(value))
            for piece, value in pieces.items()
            if value is not None
        ]


FILTER_NAMES = tuple(one.name for one in fields(EventFilter) if one.name != "actor_label")
"""The names of all criteria; the label is found by `actor`, too."""


def _action(column: ColumnElement[str], wanted: str) -> ColumnElement[bool]:
    if "*" not in wanted:
        return column == wanted
    escaped = wanted.replace(_ESCAPE, _ESCAPE * 2).replace("%", r"\%").replace("_", r"\_")
    return column.like(escaped.replace("*", "%"), escape=_ESCAPE)


def _pattern(action: str) -> str:
    """Return a pattern for `fnmatch` in which only `*` is special."""
    return action.replace("[", "[[]").replace("?", "[?]")
