"""The plain columns of `audit_event`, which a body determines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

COLUMNS = (
    *("event_id", "occurred_at", "actor_type", "actor_id", "action", "outcome"),
    *("target_type", "target_id", "trace_id", "span_id", "tx_id", "tenant"),
)
"""Their names. Values of them stand in this order, too."""

Values: TypeAlias = tuple[str | None, ...]
"""What the table has in them, timestamps in the form of the body."""


_VERSION_DIGITS = 16
"""Of the largest version that a target can have."""


def derived_columns(members: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a body says of the plain columns."""
    say = members.get
    actor, target = say("actor"), say("target")
    who = actor.get if isinstance(actor, dict) else _nothing
    what = target.get if isinstance(target, dict) else _nothing
    return (
        *(say("event_id"), say("occurred_at"), who("type"), who("id"), say("action")),
        *(say("outcome"), what("type"), what("id"), say("trace_id"), say("span_id")),
        *(say("tx_id"), say("tenant")),
    )


def says(body: str, columns: Values) -> bool:
    """Whether a body that auditspan has made says just this of the plain columns.

    Quick, since it runs for every row: it looks for the text that these values have in a canonical
    body, and parses nothing. True is certain. False says nothing (there are bodies of rare shapes);
    `derived_columns` of the parsed body knows.

    Inside of a string a quotation mark has a backslash before it. So text with a bare one is where
    the members are, and from either end the first place with the name of a member is that member:
    only `changes` and `metadata` hold names of others. `changes` follows on `actor` in bodies of
    earlier releases, and `change_id` does in those of this one.
    """
    event_id, occurred_at, who, actor, action, outcome, what, target, trace, span, tx, tenant = (
        columns
    )
    try:
        plain = "".join([value for value in columns if value is not None])
    except TypeError:
        return False  # somebody has put bytes into a column
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
    """A part that is not there says nothing."""
