"""The query of the trail page: filters and position, which are the page's whole state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from auditspan.errors import AuditConfigError
from auditspan.format import parse_time
from auditspan.reading import require_possible
from auditspan.storage import EXCLUDABLE, FILTER_NAMES, EventFilter

_TIMES = ("since", "until")
_SWITCHES = ("live", "views")
_NAMES = (*FILTER_NAMES, *(f"{name}!" for name in EXCLUDABLE))
"""The parameters of filters: `actor=7`, and `actor!=7` to exclude events."""

_PARAMETERS = (*_NAMES, "before", *_SWITCHES)
_ROW_ID = re.compile(r"[1-9][0-9]{0,18}")
_LAST_ROW_ID = 2**63 - 1
_MAX_LENGTH = 512


@dataclass(frozen=True, kw_only=True)
class Query:
    """Query of the trail page.

    Attributes:
        filters: the filters as given, by name; a name with `!` excludes events.
        wanted: the filter that they mean.
        before: the row id that all rows of the page are older than; None for the newest page.
        live: whether new events are shown as they are recorded.
        views: whether views of these pages are listed, too.
    """

    filters: Mapping[str, str]
    wanted: EventFilter
    before: int | None = None
    live: bool = False
    views: bool = False

    def with_filters(self, **changed: str | None) -> str:
        """Return the query string of the newest page with changed filters; None removes one."""
        named = {**self.filters, **changed}
        filters = {name: value for name, value in named.items() if value is not None}
        return _encoded({**filters, **self._switches()})

    def only(self, name: str, value: str) -> str:
        """Return the query string of the newest page with only the events that have a value."""
        return self.with_filters(**{name: value, f"{name}!": None})

    def but(self, name: str, value: str) -> str:
        """Return the query string of the newest page without the events that have a value."""
        same = {name: None} if self.filters.get(name) == value else {}
        return self.with_filters(**same, **{f"{name}!": value})

    def export(self, form: str) -> str:
        """Return the query string of the export of all pages."""
        return _encoded({**self.filters, "format": form, **self._switches(live=False)})

    def older(self, before: int) -> str:
        """Return the query string of the page that follows this row."""
        return _encoded({**self.filters, "before": str(before), **self._switches(live=False)})

    def switched(self, **switches: bool) -> str:
        """Return the query string of the newest page with `live` or `views` changed."""
        return _encoded({**self.filters, **self._switches(**switches)})

    def _switches(self, **changed: bool) -> dict[str, str]:
        switches = {"live": self.live, "views": self.views, **changed}
        return {name: "1" for name, is_on in switches.items() if is_on}


def without_empty(args: MultiDict[str, str]) -> str | None:
    """Return the query string without empty parameters, which forms send; None if it has none."""
    kept = [(name, value.strip()) for name, value in args.items(multi=True) if value.strip()]
    return None if len(kept) == len(list(args.items(multi=True))) else urlencode(kept)


def read_query(args: MultiDict[str, str]) -> Query:
    """Read the query from the parameters of a request.

    Raises:
        AuditConfigError: a parameter is unknown, repeated or invalid, or no event can match.
    """
    for name, values in args.lists():
        _require_single(name, values)
    given = {name: value.strip() for name, value in args.items()}
    filters = {name: given[name] for name in _NAMES if name in given}
    with_views = "views" in given or "action" in given
    return Query(
        filters=filters,
        wanted=replace(_wanted(filters), with_views=with_views),
        before=_row_id(given["before"]) if "before" in given else None,
        **{name: name in given for name in _SWITCHES},
    )


def _wanted(filters: Mapping[str, str]) -> EventFilter:
    named: dict[str, Any] = {name: filters[name] for name in FILTER_NAMES if name in filters}
    named |= {name: read_time(name, filters[name]) for name in _TIMES if name in filters}
    excluded: dict[str, Any] = {
        name: filters[f"{name}!"] for name in EXCLUDABLE if f"{name}!" in filters
    }
    for one in (named, excluded):
        one |= {name: one[name].lower() for name in ("trace_id",) if name in one}
    exclude = EventFilter(**excluded) if excluded else None
    wanted = EventFilter(**named, exclude=exclude)
    require_possible(wanted)
    return wanted


def _require_single(name: str, values: list[str]) -> None:
    if name not in _PARAMETERS:
        known = ", ".join(FILTER_NAMES)
        raise AuditConfigError(f"unknown filter {name!r}: expected one of {known}")
    if len(values) > 1:
        raise AuditConfigError(f"the filter {name} is given more than once: give it once")
    if len(values[0]) > _MAX_LENGTH or not values[0].isprintable():
        raise AuditConfigError(
            f"invalid {name}: expected at most {_MAX_LENGTH} printable characters"
        )


def _row_id(text: str) -> int:
    if not _ROW_ID.fullmatch(text) or int(text) > _LAST_ROW_ID:
        raise AuditConfigError(f"invalid position {text!r}: follow the link to the older events")
    return int(text)


def read_time(name: str, text: str) -> datetime:
    """Read a time, in UTC where it has no zone.

    Raises:
        AuditConfigError: it is invalid.
    """
    try:
        return parse_time(text)
    except ValueError as error:
        raise AuditConfigError(
            f"invalid {name} {text!r}: expected a time such as 2026-01-31 or 2026-01-31T12:00Z, "
            "in UTC within the years 1 to 9999"
        ) from error


def _encoded(parameters: Mapping[str, str]) -> str:
    return f"?{urlencode(parameters)}" if parameters else "?"
