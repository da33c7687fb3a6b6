"""Links from events and traces to the tracing backend of AUDITSPAN_TRACE_URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from auditspan.telemetry import TraceLink

_TRACE_ID = re.compile(r"[0-9a-f]{32}")

TraceUrl: TypeAlias = Callable[[object], str | None]
"""Returns the URL of a trace; None without a backend, or for anything but a trace id."""


def trace_urls(template: str | None) -> TraceUrl:
    """Return the function that links traces to the backend of this setting."""
    link = TraceLink(template) if template else None

    def url_of(trace_id: object) -> str | None:
        is_id = isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id)
        return link.to(trace_id) if link and isinstance(trace_id, str) and is_id else None

    return url_of


def with_trace_url(event: Mapping[str, Any], url_of: TraceUrl) -> dict[str, Any]:
    """Return the JSON form of an event or a trace, with `trace_url` if it has one."""
    url = url_of(event.get("trace_id"))
    return {**event, "trace_url": url} if url else {**event}
