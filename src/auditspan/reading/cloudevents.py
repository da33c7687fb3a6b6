"""Events as CloudEvents 1.0, for brokers and functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from auditspan.errors import AuditBodyError
from auditspan.format import Json, parse_canonical
from auditspan.reading.sealed_events import (
    Read,
    event_time,
    json_line,
    newest_checkpoint,
    sealed_events,
)
from auditspan.storage import AuditTables, EventFilter, StoredEvent
from auditspan.telemetry import semconv


def export_cloudevents(read: Read, tables: AuditTables, wanted: EventFilter) -> Iterator[str]:
    """Yield the lines of an export as JSON lines, each a CloudEvent in its JSON format.

    Raises:
        NotSealedError: nothing is sealed yet.
    """
    size = newest_checkpoint(read, tables).size
    for event in sealed_events(read, tables, wanted, size):
        yield json_line(cloud_event(event))


def cloud_event(event: StoredEvent) -> dict[str, Any]:
    """Return an event as a CloudEvent, whose data is the body that was sealed.

    `sequence` sorts as text, as the extension requires; `recordedtime` is the database's clock, and
    `traceparent` the trace of the event. With `mac`, `recordedtime` and `rowid`, the data can be
    verified.
    """
    members = event.resource()
    service = members["service"]
    name = service.get("name") if isinstance(service, Mapping) else None
    return {
        "specversion": "1.0",
        "id": members["event_id"],
        "source": f"/auditspan/{quote(str(name or 'unknown'), safe='')}",
        "type": f"{semconv.EVENT_PREFIX}{members['action']}",
        "datacontenttype": "application/json",
        "data": _data(event),
        "sequence": f"{event.seq or 0:020d}",
        "recordedtime": event.recorded_at,
        "rowid": str(event.row_id),
        **_optional(event, members),
    }


def _data(event: StoredEvent) -> Json:
    """Return the body; one that is not canonical JSON as the text that it is."""
    try:
        return parse_canonical(event.body)
    except AuditBodyError:
        return event.body


def _optional(event: StoredEvent, members: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "time": event_time(event),
        "mac": event.mac,
        "tenant": members["tenant"],
        "subject": _subject(members["target"]),
    }
    if members["trace_id"] and members["span_id"]:
        found["traceparent"] = f"00-{members['trace_id']}-{members['span_id']}-01"
    return {name: text for name, text in found.items() if text}


def _subject(target: Mapping[str, Any] | None) -> str | None:
    if not target:
        return None
    return f"{target['type']}/{target['id']}" if target["id"] else str(target["type"])
