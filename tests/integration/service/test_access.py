"""Events about the use of the API, where `AUDITSPAN_RECORD_ACCESS` is set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from auditspan_service.api.access import Flood
from auditspan_service.database.engine import make_engine
from support.running import Up
from support.service import Caller, RunningService, problem, running_service, settings_at


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> Iterator[RunningService]:
    """A service that records the use of its API."""
    settings = settings_at(tmp_path / "data", database_url, record_access=True)
    with running_service(settings) as running:
        yield running


def accesses(service: RunningService) -> list[dict[str, Any]]:
    """The events about the use of the API."""
    kinds = ("api.", "authentication.", "authorization.")
    return [body for body in service.bodies() if body["action"].startswith(kinds)]


def test_read_is_recorded_with_its_reader_and_its_arguments(service: RunningService) -> None:
    """Each successful read leaves one event, which is not a read itself; others leave none."""
    kim = service.caller(username="kim")
    event_id = kim.events(action="user.create")[0]["event_id"]
    kim("GET", f"/v1/audit-events/{event_id}")
    kim("HEAD", "/v1/users?limit=5")
    kim("GET", "/v1/users?limit=x")
    kim("GET", "/v1/users/999")
    kim.create(username="lee")
    service.app.test_client().get("/healthz")
    found = [(one["action"], one["actor"]["label"], one["metadata"]) for one in accesses(service)]
    assert [
        ("audit_events.search", {"action": "user.create"}),
        ("audit_events.get", {"event_id": event_id}),
        ("users.search", {"limit": "5"}),
    ] == [(said["endpoint"], said["arguments"]) for _, _, said in found]
    assert {("api.read", "kim")} == {one[:2] for one in found}


def test_read_that_cannot_be_recorded_is_refused(service: RunningService) -> None:
    """The answer is 503 without what was read."""
    kim: Caller = service.caller(username="kim")
    with service.services.database.engine.begin() as connection:
        refuse = "ALTER TABLE audit_event RENAME COLUMN mac_key_id TO renamed"
        connection.execute(text(refuse))
    refused = kim("GET", "/v1/users")
    assert (503, False) == (problem(refused)["status"], "kim" in refused.text)


def test_flood_of_refusals_leaves_few_events(service: RunningService) -> None:
    """One for each kind, with the reason; the key that lacks a scope is the actor."""
    reader = service.caller("users:read", username="reader")
    client = service.app.test_client()
    for _ in range(20):
        assert 401 == client.get("/v1/users").status_code
        assert 403 == reader("GET", "/v1/audit-events").status_code
    assert [
        ("authentication.failure", "anonymous", "failure", 1),
        ("authorization.failure", "user", "failure", 1),
    ] == [
        (one["action"], one["actor"]["type"], one["outcome"], one["metadata"]["count"])
        for one in accesses(service)
    ]


def test_failed_sign_in_is_recorded(service: RunningService) -> None:
    """As a failed authentication of the page."""
    client = service.app.test_client()
    page = client.get("/sign-in").text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert 401 == client.post("/sign-in", data={"csrf_token": token, "key": "x"}).status_code
    (found,) = accesses(service)
    assert ("authentication.failure", "anonymous", "pages.signed_in") == (
        *(found["action"], found["actor"]["type"]),
        found["metadata"]["endpoint"],
    )


def test_flood_is_counted() -> None:
    """The first of a kind is let through, and one in each period, with the number since."""
    now = 0.0
    flood = Flood(period=60, limit=3, clock=lambda: now)
    assert [1, None, None] == [flood.count("a") for _ in range(3)]
    now = 60.0
    assert [3, None, 1] == [flood.count("a"), flood.count("a"), flood.count("b")]
    assert [1, 1, None, None] == [flood.count(kind) for kind in ("c", "d", "e", "f")]
    now = 120.0
    assert [2, 1, 3] == [flood.count(kind) for kind in ("a", "g", "h")]


def test_start_and_stop_are_recorded(tmp_path: Path) -> None:
    """By the process that serves, before its first request and after its last one."""
    environ = {"AUDITSPAN_SINK": "file", "AUDITSPAN_RECORD_ACCESS": "1"}
    with Up(tmp_path / "data", environ=environ) as up:
        assert 200 == up.client.get("/v1/users").status_code
    engine = make_engine(up.said.database_url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT action, actor_id FROM audit_event ORDER BY id"))
        found = [tuple(row) for row in rows if row.action != "authentication.failure"]
    engine.dispose()
    assert [("service.start", "auditspan"), ("api.read", "1"), ("service.stop", "auditspan")] == (
        found[-3:]
    )
