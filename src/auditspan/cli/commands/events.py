"""`auditspan events`, `show` and `history`: queries on the trail."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Never

import click
from sqlalchemy import Connection

from auditspan.cli.commands.console import Failure, print_object, say, wants_json
from auditspan.cli.commands.criteria import criteria, filter_of
from auditspan.cli.commands.follower import Follower
from auditspan.cli.commands.table import Link, Table, print_document, print_rows
from auditspan.cli.commands.target import Events, Search, Target, Trail, on_trail
from auditspan.cli.commands.times import as_time
from auditspan.cli.commands.trace_links import TraceUrl, trace_urls, with_trace_url
from auditspan.format import printable, printable_json
from auditspan.reading import by_id_or_label
from auditspan.storage import (
    AuditTables,
    EventFilter,
    Purge,
    StoredEvent,
    begun_purge,
    event_at,
    find_events,
    get_event,
    purge_at,
    purge_before,
    purge_of,
)
from auditspan.storage import history as target_history

_SEQ = re.compile(r"[0-9]{1,18}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_WIDTH = 80
_NARROW = {"actor": 10, "action": 16, "target": 11}
"""The largest widths of some columns on a narrow terminal."""

_FOLLOW_SECONDS = 0.5


@click.command()
@criteria
@click.option("--since", callback=as_time, metavar="TIME", help="Only events from this time on.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="Maximum number shown."
)
@click.option("--follow", is_flag=True, help="Print new events as they arrive, until Ctrl-C.")
@on_trail
def events(
    target: Target,
    *,
    limit: int,
    follow: bool,
    **wanted: object,
) -> None:
    """Show events, newest last.

    If earlier ones were removed by retention, a line on standard error says so. TIME is a date or
    time in ISO 8601, in UTC unless it has an offset. A terminal that is too narrow for all columns
    gets 80 of them: without the ids of event and trace (`show` accepts the sequence number).
    """
    asked = filter_of(wanted)
    show = partial(_print_events, url_of=trace_urls(target.settings.trace_url))
    with target.searching() as search:
        if follow:
            with suppress(KeyboardInterrupt):  # the usual way to stop
                _follow(search, asked, limit, partial(show, table=Table(_row, _narrow)))
            return
        shown = _print_newest(search, asked, limit, show)
        if not shown:
            say("No event matches.", err=True)
        if len(shown) < limit:
            _say_purged(search(lambda trail: begun_purge(*trail, since=asked.since)))


@click.command()
@click.argument("event_id")
@on_trail
def show(target: Target, event_id: str) -> None:
    """Show one event with all its members.

    EVENT_ID is its id or its sequence number.
    """
    with target.searching() as search:
        found = search(partial(_named, event_id))
    if not found:
        with target.reading() as trail:  # a replica may not have it yet
            found = _named(event_id, trail)
            purge = None if found else _purge_of(event_id, trail)
        if purge:
            raise Failure(f"Event {event_id} was removed by retention: {purge.sentence}.")
    if not found:
        raise Failure(f"Event {event_id} was not found.")
    (event,) = found
    resource = with_trace_url(event.resource(), trace_urls(target.settings.trace_url))
    if wants_json():
        print_object(resource)
    else:
        print_document(resource)


@click.command()
@click.argument("target_type", metavar="TYPE")
@click.argument("target_id", metavar="ID")
@on_trail
def history(target: Target, target_type: str, target_id: str) -> None:
    """Show every event on one target, oldest first.

    Events are listed in the order of the changes. A change that another program made is recorded
    later, but listed where it happened. If earlier events were removed by retention, a line on
    standard error says so.
    """
    with target.searching() as search:
        found = search(lambda trail: target_history(*trail, target_type, target_id))
        _say_purged(search(lambda trail: purge_before(*trail, found[0] if found else None)))
    if wants_json():
        _print_events(found, url_of=trace_urls(target.settings.trace_url))
        return
    for event in found:
        _print_changes(event.resource())
    if not found:
        say(f"No events are recorded for {target_type} {target_id}.")


def _say_purged(purge: Purge | None) -> None:
    if purge:
        say(f"Earlier events were removed by retention: {purge.sentence}.", err=True)


def _named(name: str, trail: Trail) -> Events:
    """Return the event with this id or sequence number."""
    found = None
    if _SEQ.fullmatch(name):
        found = event_at(*trail, int(name))
    elif _UUID.fullmatch(name):
        found = get_event(*trail, name.lower())
    return [found] if found else []


def _purge_of(name: str, trail: Trail) -> Purge | None:
    """Return the purge that removed the event with this id or sequence number."""
    if _SEQ.fullmatch(name):
        return purge_at(*trail, int(name))
    return purge_of(*trail, name.lower()) if _UUID.fullmatch(name) else None


def _print_newest(
    search: Search, wanted: EventFilter, limit: int, show: Callable[[Events], None]
) -> Events:
    shown = search(lambda trail: _newest(*trail, wanted, limit))
    show(shown)
    return shown


def _follow(
    search: Search, wanted: EventFilter, limit: int, show: Callable[[Events], None]
) -> Never:
    follower = Follower(wanted)
    show(search(lambda trail: follower.newest(trail, limit)))
    while True:
        time.sleep(_FOLLOW_SECONDS)
        show(search(follower.next))


def _newest(
    connection: Connection, tables: AuditTables, wanted: EventFilter, limit: int
) -> list[StoredEvent]:
    named = by_id_or_label(connection, tables, wanted)
    return find_events(connection, tables, named, limit=limit)[::-1]


def _print_events(
    found: Sequence[StoredEvent], *, url_of: TraceUrl, table: Table | None = None
) -> None:
    resources = [with_trace_url(event.resource(), url_of) for event in found]
    print_rows(resources, table or Table(_row, _narrow))


def _row(event: Mapping[str, Any]) -> dict[str, object]:
    trace_id, url = event["trace_id"], event.get("trace_url")
    target = event["target"] or {}
    return {
        "seq": event["seq"],
        "occurred_at": event["occurred_at"],
        "actor": _short(_actor(event), 20),
        "action": event["action"],
        "target": _short(f"{target.get('type', '')} {target.get('id', '')}", 30),
        "outcome": "unreadable" if "unreadable" in event else event["outcome"],
        "changed": _short(" ".join(sorted(event["changes"] or ())), 40) or None,
        "trace_id": Link(trace_id, url) if url else trace_id,
        "event_id": event["event_id"],
    }


def _narrow(event: Mapping[str, Any]) -> dict[str, object]:
    """Return the form of a row for a terminal of 80 columns."""
    row = _row(event)
    if len(_actor(event)) > _NARROW["actor"]:  # what is cut off could not be searched for
        row["actor"] = event["actor"]["id"] or _actor(event)
    found = {
        "seq": row["seq"],
        "occurred_at": f"{row['occurred_at']:.19}".replace("T", " "),
        **{name: _short(str(row[name]), width) for name, width in _NARROW.items()},
    }
    rest = _WIDTH - max(len(str(row["seq"])), 3) - 19 - sum(_NARROW.values()) - 2 * len(found)
    done = "" if row["outcome"] == "success" else f"{row['outcome']} "
    return {**found, "changed": _short(f"{done}{row['changed'] or ''}", rest) or None}


def _actor(event: Mapping[str, Any]) -> str:
    actor = event["actor"]
    return str(actor["label"] or actor["id"] or actor["type"])


def _print_changes(event: Mapping[str, Any]) -> None:
    say(f"{event['occurred_at']}  {event['action']}  by {_actor(event)}  {event['event_id']}")
    if "unreadable" in event:
        say(f"    unreadable: {event['unreadable']}")
    for name, change in event["changes"].items():
        sides = [
            _short(printable_json(change[side]), 60) for side in ("old", "new") if side in change
        ]
        say(f"    {name}: {' → '.join(sides)}")


def _short(value: str, width: int) -> str:
    """Return at most `width` characters of `value`, on one line."""
    text = printable(" ".join(value.split()))
    return text if len(text) <= width else text[: width - 1] + "…"
