"""One trace: its waterfall from the collector's files, and its events from the trail."""

from __future__ import annotations

import re
from itertools import islice

from flask import abort
from sqlalchemy import Connection

from auditspan.errors import CollectorFilesError
from auditspan.format import printable_json
from auditspan.reading import Event
from auditspan.storage import EventFilter, find_events
from auditspan.telemetry.otlp import Trace, TraceFiles, trace_as_dict
from auditspan.viewer.status import read_status
from auditspan.viewer.viewer import Document, Page, Viewer
from auditspan.viewer.waterfall import waterfall

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_MOST = 1000
"""Rows that are shown; the JSON document has all spans and log records."""

_EVENTS = 50

_NOT_CONFIGURED = (
    "The spans cannot be shown, because the directory of the collector's files is not configured: "
    "set AUDITSPAN_COLLECTOR_FILES."
)


def trace_page(viewer: Viewer, connection: Connection, trace_id: str) -> Page:
    """Show the spans and log records of a trace."""
    wanted = _required(trace_id)
    events = find_events(
        connection, viewer.trail.tables, EventFilter(trace_id=wanted), limit=_EVENTS
    )
    trace, problem = _read(viewer.trace_files, wanted)
    rows = list(islice(waterfall(trace), _MOST + 1)) if trace else []
    return Page(
        template="trace.html",
        values={
            "trace_id": wanted,
            "trace": trace,
            "link": viewer.trace_link,
            "rows": rows[:_MOST],
            "is_cut": len(rows) > _MOST,
            "problem": problem,
            "events": [Event.from_resource(one.resource()) for one in reversed(events)],
            "status": read_status(connection, viewer.trail.tables),
        },
        viewed={"page": "trace", "trace_id": wanted},
        status=200 if events or not problem else 404,
    )


def trace_document(viewer: Viewer, connection: Connection, trace_id: str) -> Document:
    """Return the trace as JSON, without the bodies of audit records."""
    del connection
    wanted = _required(trace_id)
    trace, problem = _read(viewer.trace_files, wanted)
    if trace is None:
        abort(404, problem)
    return Document(
        name=f"trace-{wanted}.json",
        lines=[printable_json(trace_as_dict(trace), indent=2) + "\n"],
        viewed={"page": "trace", "trace_id": wanted},
    )


def _required(trace_id: str) -> str:
    wanted = trace_id.lower()
    if not _TRACE_ID.fullmatch(wanted):
        abort(404, "Invalid trace id: expected 32 hexadecimal digits.")
    return wanted


def _read(files: TraceFiles | None, trace_id: str) -> tuple[Trace | None, str]:
    """Return the trace, or the reason why it cannot be shown."""
    if files is None:
        return None, _NOT_CONFIGURED
    try:
        trace = files.trace(trace_id)
    except CollectorFilesError as error:
        return None, error.message
    if trace.empty:
        return None, f"The collector's files in {files.path} have no span of this trace (yet)."
    return trace, ""
