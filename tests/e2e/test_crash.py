"""kill -9 of the service in the middle of its work."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.patience import PATIENCE
from support.running import Up, auditspan

CLIENTS = 4
KILLED_AFTER = 100

pytestmark = pytest.mark.timeout(900)  # a disk may take half a second for each request


@dataclass
class Acknowledged:
    """Changes that the clients know to have happened."""

    usernames: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    enough: threading.Event = field(default_factory=threading.Event)

    def create_users(self, client: httpx.Client, numbers: Iterator[int]) -> None:
        """Create users until the service is gone."""
        for number in numbers:
            username = f"user-{number}"
            self.asked.add(username)
            try:
                answer = client.post("/v1/users", json={"username": username})
            except httpx.TransportError:
                return
            assert answer.status_code == 201
            self.usernames.add(username)
            if len(self.usernames) >= KILLED_AFTER:
                self.enough.set()


@pytest.fixture(params=["sqlite", "postgresql"])
def environ(request: pytest.FixtureRequest, collector_bin: Path) -> dict[str, str]:
    environ = {"OTELCOL_BIN": str(collector_bin)}
    if request.param == "postgresql":
        environ["AUDITSPAN_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return environ


def kill_under_load(up: Up) -> Acknowledged:
    known = Acknowledged()
    clients = [
        threading.Thread(target=known.create_users, args=(up.client, count(first, CLIENTS)))
        for first in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    assert known.enough.wait(300)
    up.kill()
    for client in clients:
        client.join()
    return known


def listed(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    query: dict[str, str] = {"limit": "100"}
    while True:
        page = client.get(path, params=query).json()
        items += page["items"]
        if page["next"] is None:
            return items
        query["cursor"] = page["next"]


def test_a_killed_service_loses_and_invents_nothing(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """After kill -9 and restart: rows = changes, and the file's ids are the table's ids."""
    data = tmp_path / "data"
    with Up(data, environ=environ) as first:
        known = kill_under_load(first)

    with Up(data, environ=environ, key=first.key) as second:
        assert second.said.key is None
        users = {user["username"] for user in listed(second.client, "/v1/users")} - {"admin"}
        created = [
            event["changes"]["username"]["new"]
            for event in listed(second.client, "/v1/audit-events")
            if event["action"] == "user.create"
        ]
        assert known.usernames <= users <= known.asked
        assert sorted(created) == sorted(users | {"admin"})
        report = reconciled(second, environ)
        assert report["missing"] == []
        assert report["unknown"] == []
        assert report["different"] == []
        assert report["found"] == report["rows"] > len(known.usernames)


def reconciled(up: Up, environ: dict[str, str]) -> dict[str, Any]:
    """Return the report of `auditspan reconcile` once the relay has caught up."""
    deadline = time.monotonic() + PATIENCE
    while True:
        done = auditspan(
            "reconcile", "--files", up.said.audit_files, "--json",
            **{**environ, "AUDITSPAN_DATABASE_URL": up.said.database_url},
        )  # fmt: skip
        report: dict[str, Any] = json.loads(done.stdout)
        if report["ok"] or time.monotonic() > deadline:
            assert done.returncode == (0 if report["ok"] else 1)
            return report
        time.sleep(0.5)
