"""The commands that set a service up: what they print, and how they end."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from auditspan.telemetry.otlp.files import read_spans
from auditspan_service.cli import main
from support.patience import PATIENCE
from support.ports import free_port
from support.running import AUDITSPAN, auditspan, clean_environment


class Place:
    """A data directory, and a database, in which commands run."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.environ = {"AUDITSPAN_DATA_DIR": str(folder), "AUDITSPAN_DATABASE_URL": database_url}

    def run(self, *arguments: str) -> Result:
        """One command to its end, in this process: starting Python takes longer than the rest."""
        return CliRunner().invoke(main, arguments, env=self.environ, prog_name="auditspan")

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON lines of a command that succeeds."""
        done = self.run(*arguments, "--json")
        assert (done.exit_code, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def place(tmp_path: Path, empty_url: str) -> Place:
    """A database without tables, on both databases."""
    return Place(tmp_path / "data", empty_url)


@pytest.fixture
def ready(place: Place) -> Place:
    """The same with the schema and the key file."""
    place.objects("db", "upgrade")
    place.objects("keys", "init")
    return place


def test_db(place: Place) -> None:
    """`db check` ends with 1 before and 0 after `db upgrade`, which tells what it did."""
    sqlite = place.environ["AUDITSPAN_DATABASE_URL"].startswith("sqlite")
    before = place.run("db", "check")
    assert before.exit_code == (2 if sqlite else 1)
    assert "auditspan db upgrade" in before.stdout + before.stderr

    applied = ["0001", "0002", "0003", "0004"]
    assert place.objects("db", "upgrade") == [{"before": None, "after": "0004", "applied": applied}]
    assert place.objects("db", "upgrade") == [{"before": "0004", "after": "0004", "applied": []}]
    (checked,) = place.objects("db", "check")
    # On PostgreSQL the tests are its superuser: that is told, and does not count here.
    assert [one["kind"] for one in checked.pop("findings")] == ([] if sqlite else ["role"])
    assert checked == {"ok": True, "current": "0004", "head": "0004", "pending": []}
    assert place.run("db", "upgrade").stdout == "Nothing to do: the database is already at 0004.\n"


def test_keys(ready: Place) -> None:
    """A key is made with its user, shown once, listed without its secret, and revoked."""
    create = ("keys", "create", "--username", "kim", "--scope", "users:read")
    (made,) = ready.objects(*create, "--scope", "audit:read")
    assert made == {
        "id": 1,
        "key": made["key"],
        "username": "kim",
        "scopes": ["audit:read", "users:read"],
    }
    assert made["key"].startswith("ask_1_")
    text = ready.run(*create, "--name", "for tests").stdout
    assert text.startswith("ask_2_")
    assert "shown only now" in text

    first, second = ready.objects("keys", "list")
    assert (first["id"], first["scopes"], second["name"]) == (1, made["scopes"], "for tests")
    assert (first["revoked_at"], first["username"]) == (None, "kim")
    secret = made["key"].split("_", 2)[2]
    assert secret not in ready.run("keys", "list").stdout + json.dumps([first, second])

    (revoked,) = ready.objects("keys", "revoke", "1")
    assert revoked["revoked_at"]
    assert ready.objects("keys", "revoke", "1") == [revoked]
    assert [user["username"] for user in ready.objects("users", "list")] == ["kim"]


def test_users(ready: Place) -> None:
    """A user is added as by the API, and the row names the command as the actor."""
    (user,) = ready.objects("users", "add", "lee", "--email", "lee@example.org")
    assert (user["username"], user["email"], user["version"]) == ("lee", "lee@example.org", 1)
    assert ready.objects("users", "list") == [user]
    (event,) = ready.objects("events")
    assert event["action"] == "user.create"
    assert event["actor"] == {"type": "system", "id": "auditspan-cli", "label": "auditspan-cli"}
    assert event["service"]["name"] == "auditspan"


def test_key_file(place: Place) -> None:
    """`keys init` makes the key file once."""
    (made,), (again,) = (place.objects("keys", "init") for _ in range(2))
    assert (made["created"], again["created"]) == (True, False)
    assert made["mac_key_id"] == again["mac_key_id"]
    assert made["mac_key_file"] == str(place.folder / "keys" / "mac.key")


REFUSALS = {
    ("keys", "create", "--username", "kim"): "--scope",
    ("keys", "create", "--username", "kim", "--scope", "x"): "'x' is not one of",
    ("keys", "create", "--username", " kim", "--scope", "admin"): "username: must not begin",
    ("keys", "revoke", "7"): "Key 7 does not exist.",
    ("keys", "revoke", "99999999999999999999"): "does not exist",
    ("keys", "revoke", "x"): "'x' is not a valid integer",
    ("users", "add", "x" * 51): "username: must have at most 50 characters",
    ("users", "add", "kim", "--email", "kim"): "email: must be an email address",
}


def test_refusals(ready: Place) -> None:
    """What cannot be done is a sentence on standard error and exit code 2; nothing changes."""
    ended = {arguments: ready.run(*arguments) for arguments in REFUSALS}
    said = {name: (one.exit_code, one.stdout, one.stderr) for name, one in ended.items()}
    assert {} == {
        name: one
        for name, one in said.items()
        if one[:2] != (2, "") or REFUSALS[name] not in one[2]
    }
    assert ready.objects("users", "list") == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AUDITSPAN_SINK", "x", "AUDITSPAN_SINK is invalid"),
        ("AUDITSPAN_DATABASE_URL", "postgresql://kim:hunter2@127.0.0.1:1/x", "connection"),
        ("AUDITSPAN_DATABASE_URL", "mysql://kim:hunter2@db/x", "mysql is not supported"),
        ("AUDITSPAN_DATABASE_URL", "sqlite:////nowhere/x.db", "auditspan db upgrade"),
    ],
)
@pytest.mark.parametrize("command", ["db check", "keys list", "users list"])
def test_wrong_settings(tmp_path: Path, command: str, name: str, value: str, said: str) -> None:
    """A wrong setting is a sentence and exit code 2, and the password is not repeated."""
    environ = {"AUDITSPAN_DATA_DIR": str(tmp_path), name: value}
    done = CliRunner().invoke(main, command.split(), env=environ)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "hunter2" not in done.stderr


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the service says that it is ready."""
    deadline = time.monotonic() + PATIENCE
    last: object = None
    while time.monotonic() < deadline and process.poll() is None:
        try:
            last = httpx.get(f"{url}/readyz", trust_env=False, timeout=PATIENCE)
            if last.status_code == 200:
                return
        except httpx.TransportError as error:
            last = error
        time.sleep(0.1)
    pytest.fail(f"{url} was not ready: {last}")


@pytest.mark.parametrize(
    "empty_url", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], indirect=True
)
def test_serve(ready: Place) -> None:
    """Gunicorn serves with several workers; on SIGTERM it ends with 0, all spans in the file."""
    (made,) = ready.objects("keys", "create", "--username", "kim", "--scope", "admin")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = (ready.folder / "serve.log").open("wb")
    process = subprocess.Popen(
        [AUDITSPAN, "serve", "--port", str(port), "--workers", "2"],
        env={**clean_environment(), **ready.environ, "AUDITSPAN_SINK": "file"},
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    try:
        wait_until_ready(url, process)
        headers = {"Authorization": f"Bearer {made['key']}"}
        with httpx.Client(
            base_url=url, headers=headers, trust_env=False, timeout=PATIENCE
        ) as client:
            answers = [client.post("/v1/users", json={"username": f"u{i}"}) for i in range(10)]
            chunked = client.post(
                "/v1/users",
                content=iter([b'{"username": "', b"x" * 1_100_000, b'"}']),
                headers={"Content-Type": "application/json"},
            )
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE)
        log.close()
    said = Path(log.name).read_text()
    assert ([answer.status_code for answer in answers], code) == ([201] * 10, 0), said
    assert chunked.status_code == 413
    assert chunked.headers["Content-Type"] == "application/problem+json"

    traces = {answer.headers["traceresponse"].split("-")[1] for answer in answers}
    spans = list(read_spans(ready.folder / "collector" / "telemetry"))
    assert traces <= {span.trace_id for span in spans}
    assert {"COMMIT", "POST /v1/users"} <= {span.name for span in spans}
    secret = made["key"].split("_", 2)[2]
    assert secret not in said
    for file in (ready.folder / "collector").rglob("*.jsonl"):
        assert secret not in file.read_text()


def test_serve_without_its_key(tmp_path: Path) -> None:
    """On a shared database a missing MAC key is a sentence, before gunicorn starts."""
    environ = {"AUDITSPAN_DATA_DIR": str(tmp_path), "AUDITSPAN_DATABASE_URL": "postgresql://db/x"}
    done = auditspan("serve", **environ)
    assert (done.returncode, "auditspan keys init" in done.stderr) == (2, True)
