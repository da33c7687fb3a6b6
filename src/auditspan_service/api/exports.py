"""`GET /v1/audit-events/export`: the events of a search, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

from flask import Blueprint, Response
from sqlalchemy import Connection

from auditspan import NotSealedError
from auditspan.reading import export_cloudevents, export_csv, export_ndjson, export_ocsf
from auditspan_service.api.audit_events import filter_parameters, filters_of
from auditspan_service.api.auth import requires
from auditspan_service.api.current import services
from auditspan_service.api.problems import not_sealed
from auditspan_service.api.query import malformed

exports = Blueprint("exports", __name__, url_prefix="/v1/audit-events")

_T = TypeVar("_T")
_LINES = "application/x-ndjson"
_FORMATS = {
    "ndjson": (export_ndjson, _LINES),
    "ocsf": (export_ocsf, _LINES),
    "cloudevents": (export_cloudevents, _LINES),
    "csv": (export_csv, "text/csv; charset=utf-8"),
}
_ENDINGS = {"ocsf": "ocsf.ndjson", "cloudevents": "cloudevents.ndjson"}


@exports.get("/export")
@requires("audit:read")
def export() -> Response:
    """Return the sealed events that match the filters, oldest first, in one of the formats."""
    given = filter_parameters("format")
    form = given.pop("format", "ndjson")
    if form not in _FORMATS:
        raise malformed(f"format must be {' or '.join(_FORMATS)}.")
    write, media_type = _FORMATS[form]
    lines = write(_reader(), services().trail.tables, filters_of(given))
    name = f'attachment; filename="audit-events.{_ENDINGS.get(form, form)}"'
    # The first line is made now, so that an error still has an answer of its own.
    try:
        body = chain([next(lines, "")], lines)
    except NotSealedError as error:
        raise not_sealed(error.sentence) from error
    return Response(_encoded(body), content_type=media_type, headers={"Content-Disposition": name})


def _encoded(lines: Iterator[str]) -> Iterator[bytes]:
    return (line.encode() for line in lines)


def _reader() -> Callable[[Callable[[Connection], _T]], _T]:
    """Return a function that reads on the primary: the replica could lack the newest rows."""
    database = services().database

    def read(work: Callable[[Connection], _T]) -> _T:
        with database.reading() as session:
            return work(session.connection())

    return read
