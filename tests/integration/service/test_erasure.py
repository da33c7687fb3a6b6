"""Erasure of a user of the service: its values are in no place afterwards, and the trail holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from auditspan.storage import snapshot
from auditspan.storage.keys import load_or_create_signing_keys
from auditspan.verify import check_state, reconcile, verify_trail
from auditspan_service.cli import main
from auditspan_service.collector.process import Collector
from auditspan_service.models import Base
from auditspan_service.worker import running_worker
from support.collector import collector_binary, run_collector
from support.patience import PATIENCE
from support.service import Caller, RunningService, running_service, settings_at

USERNAME, EMAIL, NAME = "planted-kim", "planted@example.org", "Planted Name"
AGENT, KEY_NAME = "planted-agent/1.0", "planted-laptop"
PLANTED = (USERNAME, EMAIL, NAME, AGENT, KEY_NAME)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A real collector, whose files are searched."""
    with run_collector(collector_binary(), tmp_path_factory.mktemp("collected")) as running:
        yield running


def act(service: RunningService) -> tuple[Caller, Caller]:
    """Let a user with planted values be created and act; return an administrator and the user."""
    admin, kim = service.caller(), service.caller(username=USERNAME)
    path = f"/v1/users/{kim.user_id}"
    agent = {"User-Agent": AGENT, "If-Match": "*"}
    for members in ({"email": EMAIL}, {"full_name": NAME}):
        assert 200 == kim("PATCH", path, json=members, headers=agent).status_code
    assert 204 == admin("PUT", f"{path}/roles/admin").status_code
    key = {"scopes": ["users:read"], "name": KEY_NAME}
    assert 201 == kim("POST", f"{path}/keys", json=key, headers=agent).status_code
    return admin, kim


def erase(admin: Caller, user_id: int) -> dict[str, Any]:
    """Delete the user, and erase its values."""
    path = f"/v1/users/{user_id}"
    assert 204 == admin("DELETE", path, headers={"If-Match": "*"}).status_code
    response = admin("POST", f"{path}/erasure", json={"reason": "request 7"})
    assert 200 == response.status_code, response.text
    found: dict[str, Any] = response.get_json()
    return found


def answers(admin: Caller, user_id: int) -> str:
    """Everything that the API tells about the trail."""
    paths = ("audit-events?limit=100", f"history/user/{user_id}", "audit-events/export")
    csv = "audit-events/export?format=csv"
    return "\n".join(admin("GET", f"/v1/{path}").text for path in (*paths, csv))


def await_delivery(collector: Collector, event_id: str) -> str:
    """Wait until the collector's files have an event; return all of their text."""
    deadline = time.monotonic() + PATIENCE
    while True:
        files = [one for one in collector.audit_files.rglob("*") if one.is_file()]
        text = "\n".join(one.read_text(encoding="utf-8", errors="replace") for one in files)
        if event_id in text:
            return text
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_erased_user_is_in_no_table_answer_file_log_or_span(
    tmp_path: Path, database_url: str, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """The values were shown before; the seal, the collector's files and the state agree after."""
    settings = settings_at(tmp_path / "data", database_url, audit_endpoint=collector.audit_endpoint)
    load_or_create_signing_keys(settings.signing_key_file, create=True)
    with (
        caplog.at_level(logging.DEBUG),
        running_service(settings) as service,
        running_worker(settings),
    ):
        admin, kim = act(service)
        shown = str(admin.events(limit="100"))
        assert [] == [value for value in PLANTED if value not in shown]
        found = erase(admin, kim.user_id)
        assert 0 < found["events"] < found["values"]
        files = await_delivery(collector, found["event_id"])
        places = {
            "tables": str(service.tables()),
            "answers": answers(admin, kim.user_id),
            "files": files,
            "logs": caplog.text,
            "spans": str([(one.attributes, one.events) for one in service.spans()]),
        }
        assert [] == [(v, name) for v in PLANTED for name, text in places.items() if v in text]
        assert {"$erased": True} == admin.events(action="user.delete")[0]["changes"]["email"]["old"]
        check(service, collector)


def check(service: RunningService, collector: Collector) -> None:
    """Verify, compare with the files and replay."""
    tables, keys = service.services.trail.tables, service.services.mac_keys
    with snapshot(service.services.database.engine) as connection:
        found = reconcile(connection, tables, [collector.audit_files])
        assert [] == [*found.missing, *found.different]
    with snapshot(service.services.database.engine) as connection:
        assert [] == verify_trail(connection, tables, keys).findings
    with snapshot(service.services.database.engine) as connection:
        assert [] == check_state(connection, tables, Base.metadata, mac_key=keys).differences


def test_erasure_is_idempotent_and_also_of_a_deleted_user(service: RunningService) -> None:
    """The second call finds nothing, and leaves no second event."""
    admin, kim = act(service)
    first = erase(admin, kim.user_id)
    again = admin("POST", f"/v1/users/{kim.user_id}/erasure", json={"reason": "again"}).get_json()
    assert (0, None) == (again["values"], again["event_id"])
    (event,) = admin.events(action="trail.erased")
    assert (first["event_id"], "request 7") == (event["event_id"], event["reason"])
    assert ("user", str(kim.user_id)) == (event["target"]["type"], event["target"]["id"])


def test_erasure_requires_a_reason_and_its_own_scope(service: RunningService) -> None:
    """A key that may change users may not erase them."""
    admin, kim = act(service)
    path = f"/v1/users/{kim.user_id}/erasure"
    assert 422 == admin("POST", path, json={}).status_code
    assert 404 == admin("POST", "/v1/users/0/erasure", json={"reason": "x"}).status_code
    writer = service.caller("users:write", username="writer")
    assert 403 == writer("POST", path, json={"reason": "x"}).status_code
    eraser = service.caller("users:erase", username="eraser")
    assert 200 == eraser("POST", path, json={"reason": "x"}).status_code


def test_command_erases_with_a_reason_and_counts_without(service: RunningService) -> None:
    """`auditspan erase` has a dry run, and records the reason."""
    kim = service.caller(username=USERNAME)
    settings = service.services.settings
    environ = {
        "AUDITSPAN_DATABASE_URL": settings.database_url,
        "AUDITSPAN_DATA_DIR": str(settings.data_dir),
    }

    def run(*arguments: str) -> tuple[int, str]:
        command = ["erase", "user", str(kim.user_id), *arguments]
        done = CliRunner().invoke(main, command, env=environ)
        return done.exit_code, done.output

    (counted, dry), (refused, _) = run("--dry-run"), run()
    erased, done = run("--reason", "request 8")
    assert (0, 2, 0) == (counted, refused, erased)
    assert dry.startswith("To be erased: 1 value of user")
    assert done.startswith("Erased: 1 value of user")
    assert "no erasable value" in run("--reason", "again")[1]
    assert "request 8" == kim.events(action="trail.erased")[0]["reason"]
