"""Plain columns of `audit_event`, derived from the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

COLUMNS = (
    *("event_id", "occurred_at", "actor_type", "actor_id", "action", "outcome"),
    *("target_type", "target_id", "trace_id", "span_id", "tx_id", "tenant"),
)
"""The names of the columns; `Values` are in the same order."""

Values: TypeAlias = tuple[str | None, ...]
"""The stored values of the columns; timestamps are in the format of the body."""


_VERSION_DIGITS = 16
"""The number of digits in the largest version that a target can have."""


def derived_columns(members: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of the plain columns that a body determines."""
    say = members.get
    actor, target = say("actor"), say("target")
    who = actor.get if isinstance(actor, dict) else _nothing
    what = target.get if isinstance(target, dict) else _nothing
    return (
        *(say("event_id"), say("occurred_at"), who("type"), who("id"), say("action")),
        *(say("outcome"), what("type"), what("id"), say("trace_id"), say("span_id")),
        *(say("tx_id"), say("tenant")),
    )


def matches_columns(body: str, columns: Values) -> bool:
    """Check quickly that the plain columns match a body made by auditspan.

    It runs for every row, so it searches the canonical body for the text of these values and parses
    nothing. True is certain. False is inconclusive, because of bodies with unusual shapes: compare
    with `derived_columns` of the parsed body.

    Quotation marks inside strings are escaped. A match with an unescaped one is therefore a member,
    and the first match from either end is the member itself: only `changes` and `metadata` contain
    arbitrary names. `actor` is followed by `changes` in bodies of earlier releases, and by
    `change_id` in bodies of this release.
    """
    event_id, occurred_at, who, actor, action, outcome, what, target, trace, span, tx, tenant = (
        columns
    )
    try:
        plain = "".join([value for value in columns if value is not None])
    except TypeError:
        return False  # the column holds bytes, so it was tampered with
    if '"' in plain or "\\" in plain:
        return False
    if None in {event_id, occurred_at, who, action, outcome, what, tx}:
        return False
    begin = f'{{"action":"{action}","actor":{{"id":{_text(actor)},"label":'
    before = f'}},"event_id":"{event_id}","metadata":{{}}'
    middle = f'{before},"occurred_at":"{occurred_at}","on_behalf_of":null,"outcome":"{outcome}",'
    last = f',"span_id":{_text(span)},"target":{{"id":{_text(target)},"type":"{what}","version":'
    end = f'}},"tenant":{_text(tenant)},"trace_id":{_text(trace)},"tx_id":"{tx}","v":1}}'
    return (
        body.startswith(begin)
        and body.endswith(f',"type":"{who}"', 0, body.find('},"change'))
        and body.startswith(middle, body.rfind(',"occurred_at":') - len(before))
        and body.find(last, len(body) - len(end) - _VERSION_DIGITS - len(last)) >= 0
        and body.endswith(end)
    )


def _text(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'


def _nothing(_name: str) -> None:
    """Return None for every member of a missing part."""
