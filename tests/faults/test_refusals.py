"""The audit row cannot be written: nothing is changed, and it mends itself when it can."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from faults.disk import Disk, small_disk
from faults.load import Load
from faults.oracle import require_whole
from faults.place import Place, await_worker, wait_for
from support.patience import PATIENCE, promised
from support.running import Up, auditspan

pytestmark = pytest.mark.timeout(600)

RECOVERS_SECONDS = promised(10)

_COLUMNS = (
    "event_id, occurred_at, actor_type, actor_id, action, outcome, target_type, target_id,"
    " trace_id, span_id, tx_id, tenant, body, mac, mac_key_id"
)
_ON_INSERT = "CREATE TRIGGER never BEFORE INSERT ON audit_event EXECUTE FUNCTION never()"
_FAILS = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$"
OBSTACLES = {
    "no right to write it": (
        f"REVOKE INSERT ({_COLUMNS}) ON audit_event FROM {{app}}",
        f"GRANT INSERT ({_COLUMNS}) ON audit_event TO {{app}}",
    ),
    "no table": (
        "ALTER TABLE audit_event RENAME TO audit_gone",
        "ALTER TABLE audit_gone RENAME TO audit_event",
    ),
    "a constraint that it breaks": (
        "ALTER TABLE audit_event ADD CONSTRAINT never CHECK (false) NOT VALID",
        "ALTER TABLE audit_event DROP CONSTRAINT never",
    ),
    "a trigger that fails": (
        f"CREATE FUNCTION never() {_FAILS}; {_ON_INSERT}",
        "DROP FUNCTION never CASCADE",
    ),
}
"""What is put in the way, and how it is taken away again."""


def users(place: Place) -> list[tuple[object, ...]]:
    """Every user as it is."""
    with place.superuser.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM users ORDER BY id"))]


def require_refusals(place: Place, load: Load) -> None:
    """Changes are refused, nothing is changed, and readers are served."""
    load.await_answers()  # to whoever was ahead of the obstacle
    before, made, refused = users(place), len(load.made), len(load.refused)
    time.sleep(1)
    assert (before, made) == (users(place), len(load.made))
    assert refused < len(load.refused)
    with place.client() as client:
        assert httpx.codes.OK == client.get("/v1/users").status_code


def test_nothing_is_changed_without_its_row(place: Place) -> None:
    """503 to every change and 200 to every reader, under load; then served again by itself."""
    place.service()
    place.worker()
    with Load(place) as load:
        for put, taken_away in OBSTACLES.values():
            load.await_made(20)
            place.database.run(put)
            require_refusals(place, load)
            place.database.run(taken_away)
            load.await_made(20, seconds=RECOVERS_SECONDS)
    assert {503} == {status for status in load.statuses if not 200 <= status < 300}
    require_whole(place, load)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk with little room."""
    with small_disk(tmp_path / "disk", megabytes=32) as disk:
        yield disk


def create(client: httpx.Client, name: str) -> int:
    """The answer to an attempt to make a user."""
    answer = client.post("/v1/users", json={"username": name})
    if not answer.is_success:
        assert (503, True) == (answer.status_code, "Retry-After" in answer.headers), answer.text
    return answer.status_code


def test_everything_is_on_one_full_disk(disk: Disk, collector_bin: Path) -> None:
    """SQLite, the worker's rows and the collector's files: refused while full, whole afterwards."""
    environ = {"OTELCOL_BIN": str(collector_bin)}
    with Up(disk.folder / "data", environ=environ) as up:
        made = [f"before-{n}" for n in range(20) if create(up.client, f"before-{n}") == 201]
        assert 20 == len(made)
        disk.fill()
        during = [f"full-{n}" for n in range(200) if create(up.client, f"full-{n}") == 201]
        assert 503 == create(up.client, "the last straw")
        assert httpx.codes.OK == up.client.get("/v1/users").status_code
        disk.free()
        wait_for(
            lambda: create(up.client, f"after-{time.monotonic()}") == 201,
            RECOVERS_SECONDS,
            "it does not recover",
        )
        names = listed(up.client)
        assert {*made, *during} <= names
        assert not names & ({f"full-{n}" for n in range(200)} - {*during})
        told = {**environ, "AUDITSPAN_DATABASE_URL": up.said.database_url}
        check = ("reconcile", "--json", "--files", up.said.audit_files)
        wait_for(
            lambda: auditspan(*check, **told).returncode == 0, PATIENCE, "something is missing"
        )
        verify = ("verify", "--json", "--state", "--data", disk.folder / "data")
        done = auditspan(*verify, "--witness", up.said.audit_files, **told)
        assert 0 == done.returncode, done.stdout + done.stderr


def listed(client: httpx.Client) -> set[str]:
    """The names of all users."""
    names: set[str] = set()
    query = {"limit": "100"}
    while True:
        page = client.get("/v1/users", params=query).json()
        names |= {user["username"] for user in page["items"]}
        if page["next"] is None:
            return names
        query["cursor"] = page["next"]


def test_restarted_worker_resumes(place: Place) -> None:
    """Told to stop under load it ends in order; the next one misses nothing.

    Nor does it send again what was acknowledged more than five seconds before.
    """
    place.service()
    worker = place.worker()
    with Load(place) as first:
        first.await_made(100)
        assert 0 == worker.stop()
        worker.start()
        await_worker(worker, 2)
    require_whole(place, first)
    before = duplicates(place)
    wait_for(lambda: is_safe(place), PATIENCE, "an acknowledgement never becomes safe")
    assert 0 == worker.stop()
    with Load(place, "second") as second:
        second.await_made(100)
    worker.start()
    require_whole(place, first, second)
    assert before == duplicates(place)


def is_safe(place: Place) -> bool:
    """Whether what was acknowledged will not be sent again: it was, five seconds ago."""
    query = text("SELECT safe_seq = sent_seq FROM audit_delivery WHERE sink NOT LIKE 'lease:%'")
    with place.superuser.connect() as connection:
        return bool(connection.execute(query).scalar_one())


def duplicates(place: Place) -> int:
    """How many copies beyond the first are in the collector's files."""
    return int(place.command("reconcile", "--json")["duplicates"])
