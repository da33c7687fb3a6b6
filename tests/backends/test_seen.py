"""One change, found in a backend by the trace id that its HTTP answer named."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.files import read_logs, read_spans
from backends.browser import text_of
from backends.known import zipkin_page
from backends.running import Watched
from backends.seen import is_whole, made_by
from support.patience import PATIENCE
from support.relaying import wait_for

pytestmark = pytest.mark.timeout(1800)  # the first run builds and fetches the backends

EVENT = "audit.user.create"


def test_jaeger_shows_the_change(jaeger: Watched) -> None:
    """The request with its SQL spans and COMMIT, and the event with the id of the audit row."""
    change = made_by(jaeger, "seen")
    said = jaeger.find(
        f"/api/traces/{change.trace_id}",
        lambda said: is_whole({span["operationName"] for span in said["data"][0]["spans"]}),
    )
    [request] = [s for s in said["data"][0]["spans"] if s["operationName"] == "POST /v1/users"]
    [event] = [log for log in map(fields, request["logs"]) if log.get("event") == EVENT]
    assert event[semconv.RECORD_ID] == change.event_id


def test_zipkin_shows_the_change(zipkin: Watched) -> None:
    """The request with its SQL spans and COMMIT, and the event as an annotation."""
    change = made_by(zipkin, "seen")
    spans = zipkin.find(
        f"/api/v2/trace/{change.trace_id}",
        lambda spans: is_whole({span["name"] for span in spans}),
    )
    [request] = [span for span in spans if span.get("kind") == "SERVER"]
    [annotation] = [a["value"] for a in request["annotations"] if a["value"].startswith(EVENT)]
    assert change.event_id in annotation


def test_zipkins_page_shows_the_change(zipkin: Watched) -> None:
    """In a browser: the trace by its id, the statements, the COMMIT, and the audit event."""
    change = made_by(zipkin, "seen-by-somebody")
    zipkin.find(
        f"/api/v2/trace/{change.trace_id}",
        lambda spans: is_whole({span["name"] for span in spans}),
    )
    drawn(
        zipkin_page(zipkin.backend, change.trace_id),
        *(change.trace_id, "post /v1/users", ": insert ", ": commit", EVENT),
        f'"{semconv.RECORD_ID}":"{change.event_id}"',
    )


def drawn(url: str, *parts: str) -> None:
    """Wait until a page has all of these; a browser that is slow may have drawn less."""
    deadline = time.monotonic() + PATIENCE
    page = text_of(url)
    while not all(part in page for part in parts):
        assert time.monotonic() < deadline, page
        page = text_of(url)


def test_unreachable_backend_delays_nothing(away: Watched) -> None:
    """The collector answers, and its files have every span and every audit record, once."""
    changes = [made_by(away, f"away-{number}") for number in range(20)]
    traces, events = ({change.trace_id: 1 for change in changes}, {c.event_id: 1 for c in changes})
    wait_for(lambda: traces.keys() <= requests(away).keys())
    assert traces == requests(away)
    wait_for(lambda: events.keys() <= records(away).keys())
    assert events == {one: times for one, times in records(away).items() if one in events}


def requests(watched: Watched) -> Counter[str]:
    """The traces in the collector's files whose request is there, and how often."""
    spans = read_spans(watched.up.said.telemetry_files)
    return Counter(span.trace_id for span in spans if span.name == "POST /v1/users")


def records(watched: Watched) -> Counter[object]:
    """The ids of the records in the collector's audit files, and how often they are there."""
    entries = read_logs(watched.up.said.audit_files)
    return Counter(entry.attributes.get("log.record.uid") for entry in entries)


def fields(log: dict[str, Any]) -> dict[str, Any]:
    """The fields of one of Jaeger's span logs."""
    return {field["key"]: field["value"] for field in log["fields"]}
