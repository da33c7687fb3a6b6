"""Export of the events that the trail page lists, on all of its pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import abort, request
from sqlalchemy import Connection

from auditspan.errors import AuditConfigError
from auditspan.reading import export_csv, export_ndjson
from auditspan.storage import latest_checkpoint
from auditspan.viewer.query import read_query
from auditspan.viewer.viewer import Document, Viewer

_T = TypeVar("_T")

_FORMATS = {
    "ndjson": (export_ndjson, "application/x-ndjson"),
    "csv": (export_csv, "text/csv"),
}
_NOTHING = "No event is sealed yet, so there is nothing to export. A worker seals committed events."


def export(viewer: Viewer, connection: Connection) -> Document:
    """Return the sealed events that match the query of the request, oldest first."""
    args = request.args.copy()
    form = args.pop("format", "ndjson")
    if form not in _FORMATS:
        abort(400, f"Invalid format: expected {' or '.join(_FORMATS)}.")
    try:
        query = read_query(args)
    except AuditConfigError as error:
        abort(400, error.sentence)
    if latest_checkpoint(connection, viewer.trail.tables) is None:
        abort(409, _NOTHING)
    write, media_type = _FORMATS[form]
    return Document(
        name=f"audit-events.{form}",
        lines=write(_pages(viewer), viewer.trail.tables, query.wanted),
        media_type=media_type,
        viewed={"page": "export", "format": form, "filters": dict(query.filters)},
    )


def _pages(viewer: Viewer) -> Callable[[Callable[[Connection], _T]], _T]:
    """Return a function that reads a page of the export on a connection of its own."""

    def read(work: Callable[[Connection], _T]) -> _T:
        with viewer.connect() as connection:
            return work(connection)

    return read
