"""`/v1/audit-events`: read access to the trail."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeGuard, TypeVar

from flask import Blueprint, Response, jsonify
from sqlalchemy import Connection

from auditspan.errors import AuditConfigError
from auditspan.reading import by_id_or_label, require_possible
from auditspan.storage import (
    EXCLUDABLE,
    FILTER_NAMES,
    EventFilter,
    Purge,
    StoredEvent,
    find_events,
    get_event,
    purge_of,
)
from auditspan_service.api.auth import requires, tenant
from auditspan_service.api.current import services
from auditspan_service.api.pagination import page_response
from auditspan_service.api.problems import Problem
from auditspan_service.api.query import malformed, page, parameters, time, trace_id
from auditspan_service.errors import NotFoundError

_T = TypeVar("_T")

audit_events = Blueprint("audit_events", __name__, url_prefix="/v1/audit-events")

_KIND = "events"
_TIMES = ("since", "until")
FILTERS = (*FILTER_NAMES, *(f"{name}!" for name in EXCLUDABLE))
"""The parameters of a filter: `actor=7`, and `actor!=7` to exclude events."""

_ALIASES = {f"not_{name}": f"{name}!" for name in EXCLUDABLE}
"""Names of these parameters that can be identifiers of a generated client."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@audit_events.get("")
@requires("audit:read")
def search() -> Response:
    """Return a page of the events that match the filters, newest first."""
    given = filter_parameters("limit", "cursor")
    wanted = page(given, _KIND)
    filters, tables = filters_of(given), services().trail.tables

    def find(connection: Connection) -> list[StoredEvent]:
        named = by_id_or_label(connection, tables, filters)
        return find_events(
            connection, tables, named, before=wanted.position, limit=wanted.limit + 1
        )

    found = services().database.search(find)
    return page_response(
        found,
        wanted,
        kind=_KIND,
        row_id=lambda event: event.row_id,
        show=lambda event: event.resource(),
    )


def filter_parameters(*others: str) -> dict[str, str]:
    """Return the query parameters, with exclusions as `actor!`, however they are written.

    Raises:
        Problem: one is unknown, given twice, empty, too long or not printable.
    """
    given = parameters((*FILTERS, *_ALIASES, *others))
    for alias, name in _ALIASES.items():
        if alias in given:
            if name in given:
                raise malformed(f"{alias} and {name} are the same parameter: send one of them.")
            given[name] = given.pop(alias)
    return given


def filters_of(given: Mapping[str, str]) -> EventFilter:
    """Return the filter that these parameters ask for, within the tenant of the caller.

    Raises:
        Problem: no event can pass it, or it asks for another tenant.
    """
    excluded = {name: given[f"{name}!"] for name in EXCLUDABLE if f"{name}!" in given}
    filters = _within_tenant(_filter(given))
    if excluded:
        filters = replace(filters, exclude=_filter(excluded))
    try:
        require_possible(filters)
    except AuditConfigError as error:
        raise malformed(error.sentence) from error
    return filters


def _within_tenant(filters: EventFilter) -> EventFilter:
    own = tenant()
    if own is None:
        return filters
    if filters.tenant not in {None, own}:
        raise Problem.of("forbidden", "This API key belongs to another tenant.")
    return replace(filters, tenant=own)


def is_visible(event: StoredEvent | None) -> TypeGuard[StoredEvent]:
    """Return whether there is an event, and the caller may see it."""
    return event is not None and tenant() in {None, event.tenant}


def _filter(given: Mapping[str, str]) -> EventFilter:
    named: dict[str, Any] = {name: given[name] for name in FILTER_NAMES if name in given}
    named |= {name: time(name, given[name]) for name in _TIMES if name in given}
    return EventFilter(**named | {"trace_id": trace_id(given)})


@audit_events.get("/<event_id>")
@requires("audit:read")
def get(event_id: str) -> Response:
    """Return one event."""
    wanted, tables = uuid_of(event_id), services().trail.tables
    event = find_one(lambda connection: get_event(connection, tables, wanted))
    if event is None and (purge := find_one(lambda one: purge_of(one, tables, wanted))):
        raise _removed(purge)
    if not is_visible(event):
        raise NotFoundError("No event has this id.")
    return jsonify(event.resource())


def _removed(purge: Purge) -> Problem | NotFoundError:
    """Return the problem of a purged event; its tenant is not known, so no tenant may see it."""
    if tenant() is not None:
        return NotFoundError("No event has this id.")
    return Problem.of(
        "purged",
        f"The row was removed by retention, as authorised by event {purge.event_id}.",
        headers={"Link": f'</v1/audit-events/{purge.event_id}>; rel="related"'},
    )


def uuid_of(event_id: str) -> str:
    """Return an event id in lower case.

    Raises:
        NotFoundError: this is not a UUID, so that no event has it.
    """
    wanted = event_id.lower()
    if not _UUID.fullmatch(wanted):
        raise NotFoundError("No event has this id.")
    return wanted


def find_one(find: Callable[[Connection], _T | None]) -> _T | None:
    """Return what is found, on the primary if the replica does not have it yet."""
    database = services().database
    found = database.search(find)
    if found is None and database.replica:
        with database.reading() as session:
            found = find(session.connection())
    return found
