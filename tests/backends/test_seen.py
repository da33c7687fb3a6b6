"""One change, found in a backend by the trace id that its HTTP answer named."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from auditspan import semconv
from backends.browser import text_of
from backends.known import zipkin_page
from backends.running import Watched
from backends.seen import is_whole, made_by
from support.patience import PATIENCE

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


def test_a_backend_that_is_away_is_missed_by_nobody(away: Watched) -> None:
    """The collector answers, and its files have every span and every audit record, once."""
    changes = [made_by(away, f"away-{number}") for number in range(20)]
    traces = arrived(away.up.said.telemetry_files, [change.trace_id for change in changes])
    requests = [line for line in names_of_spans(traces) if line == "POST /v1/users"]
    assert len(changes) == len(requests)
    trail = arrived(away.up.said.audit_files, [change.event_id for change in changes])
    assert {1} == {
        trail.count(f'"log.record.uid","value":{{"stringValue":"{c.event_id}"') for c in changes
    }


def arrived(directory: Path, ids: list[str]) -> str:
    """What the collector's files hold, as soon as that has all of these."""
    deadline = time.monotonic() + PATIENCE
    while True:
        text = "".join(
            file.read_text(encoding="utf-8") for file in sorted(directory.glob("*.jsonl"))
        )
        missing = [each for each in ids if each not in text]
        if not missing:
            return text
        assert time.monotonic() < deadline, f"{len(missing)} of {len(ids)} are missing"
        time.sleep(0.3)


def fields(log: dict[str, Any]) -> dict[str, Any]:
    """The fields of one of Jaeger's span logs."""
    return {field["key"]: field["value"] for field in log["fields"]}


def names_of_spans(text: str) -> list[str]:
    """The name of every span in the lines of a collector's file."""
    return [
        span["name"]
        for line in text.splitlines()
        for resource in json.loads(line).get("resourceSpans", [])
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
