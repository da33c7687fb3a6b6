"""The main job: one change is in the table, on the span and in the collector's file."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from auditspan.telemetry.otlp.files import LogEntry, SpanRecord, read_logs, read_spans
from support.patience import PATIENCE
from support.postgres import empty_database
from support.running import Up

REQUESTS = 200


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def up(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, collector_bin: Path
) -> Iterator[Up]:
    environ = {"OTELCOL_BIN": str(collector_bin)}
    with ExitStack() as stack:
        if request.param == "postgresql":
            environ["AUDITSPAN_DATABASE_URL"] = stack.enter_context(empty_database())
        yield stack.enter_context(Up(tmp_path_factory.mktemp("up") / "data", environ=environ))


def mixed_requests(client: httpx.Client, count: int) -> Iterator[tuple[str | None, httpx.Response]]:
    """Requests of every kind in random order, each with the action that it must leave behind."""
    dice = random.Random(20261123)  # noqa: S311 (a repeatable story, no secret)
    users: dict[str, str] = {}  # location -> current ETag
    for number in range(count):
        kind = dice.choice(
            ["create", "create", "change", "change", "stale", "same", "read", "delete"]
        )
        if kind == "create" or not users:
            answer = client.post("/v1/users", json={"username": f"user-{number}"})
            users[answer.headers["Location"]] = answer.headers["ETag"]
            yield "user.create", answer
            continue
        user = dice.choice(list(users))
        etag = {"If-Match": users[user]}
        if kind == "change":
            answer = client.patch(user, json={"full_name": f"Name {number}"}, headers=etag)
            users[user] = answer.headers["ETag"]
            yield "user.update", answer
        elif kind == "stale":
            yield None, client.patch(user, json={"full_name": "x"}, headers={"If-Match": '"0"'})
        elif kind == "same":
            current = client.get(user).json()["full_name"]
            yield None, client.patch(user, json={"full_name": current}, headers=etag)
        elif kind == "read":
            yield None, client.get(user)
        else:
            yield "user.delete", client.delete(user, headers=etag)
            del users[user]


def trace_id(answer: httpx.Response) -> str:
    return str(answer.headers["traceresponse"].split("-")[1])


def all_events(client: httpx.Client) -> list[dict[str, Any]]:
    """Every event over the API, following the cursor."""
    items: list[dict[str, Any]] = []
    query: dict[str, str] = {"limit": "100"}
    while True:
        page = client.get("/v1/audit-events", params=query).json()
        items += page["items"]
        if page["next"] is None:
            return items
        query["cursor"] = page["next"]


def wait_for(up: Up, traces: set[str], changes: int) -> tuple[list[SpanRecord], list[LogEntry]]:
    """The spans of these traces and all audit log records, once they have all arrived."""
    deadline = time.monotonic() + PATIENCE
    while True:
        spans = [s for s in read_spans(up.said.telemetry_files) if s.trace_id in traces]
        logs = [log for log in read_logs(up.said.audit_files) if log.trace_id in traces]
        servers = {span.trace_id for span in spans if span.kind == "SERVER"}
        if (servers == traces and len(logs) >= changes) or time.monotonic() > deadline:
            return spans, logs
        time.sleep(0.25)


def test_every_change_is_once_in_the_table_on_the_span_and_in_the_file(up: Up) -> None:
    """200 mixed requests: each change has one row, one span event, one log record, one trace id."""
    expected = {trace_id(answer): action for action, answer in mixed_requests(up.client, REQUESTS)}
    assert len(expected) == REQUESTS
    changes = {trace: action for trace, action in expected.items() if action}
    rows = [event for event in all_events(up.client) if event["trace_id"] in expected]
    spans, logs = wait_for(up, set(expected), len(changes))
    servers = {span.trace_id: span for span in spans if span.kind == "SERVER"}

    assert {row["trace_id"]: row["action"] for row in rows} == changes
    assert len(rows) == len(changes)
    ids = {row["trace_id"]: row["event_id"] for row in rows}
    on_spans = {
        trace: [str(event.attributes["audit.record.id"]) for event in span.events]
        for trace, span in servers.items()
    }
    assert on_spans == {trace: [ids[trace]] if trace in ids else [] for trace in expected}
    in_files = {(log.trace_id, log.attributes["audit.record.id"]) for log in logs}
    assert in_files == set(ids.items())
    assert {row["trace_id"]: row["span_id"] for row in rows} == {
        trace: servers[trace].span_id for trace in changes
    }


def test_the_spans_of_a_change_show_its_sql_and_its_commit(up: Up) -> None:
    """Its trace has the UPDATE and then the COMMIT, and none of the statements of the audit."""
    created = up.client.post("/v1/users", json={"username": "kim"})
    changed = up.client.patch(
        created.headers["Location"],
        json={"full_name": "Kim Park"},
        headers={"If-Match": created.headers["ETag"]},
    )
    spans, _logs = wait_for(up, {trace_id(changed)}, 1)
    names = [span.name for span in sorted(spans, key=lambda span: span.start)]
    texts = [
        str(s.attributes.get("db.query.text", "")) for s in sorted(spans, key=lambda s: s.start)
    ]
    update = next(i for i, text in enumerate(texts) if text.startswith("UPDATE users"))
    commit = max(i for i, name in enumerate(names) if name == "COMMIT")
    assert update < commit
    assert [] == [text for text in texts if "audit_" in text]
    assert Counter(span.kind for span in spans)["SERVER"] == 1
