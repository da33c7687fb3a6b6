"""`auditspan tour`: the first command that a new user runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import httpx

from support.program import Program
from support.relaying import wait_for
from support.running import AUDITSPAN, auditspan, clean_environment

TITLES = [
    "create a user",
    "update the user",
    "update with a stale ETag",
    "create a duplicate username",
    "call without an API key",
    "delete with a key that only reads",
    "fail after the flush",
    "record an event of another service",
    "send the same event again",
    "add three users in bulk",
    "change them by raw SQL",
    "roll back a savepoint, keep the rest",
    "delete them by one statement",
    "delete the user",
]


def test_the_tour_proves_itself_with_the_real_collector(
    tmp_path: Path, collector_bin: Path
) -> None:
    """Every step is in the table, the proof holds, and the exit code says so."""
    done = auditspan("tour", "--data", tmp_path / "tour", OTELCOL_BIN=str(collector_bin))
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(title in done.stdout for title in TITLES)
    assert "wrote the files itself" not in done.stdout


def test_tour_reports_every_step_as_json(tmp_path: Path, collector_bin: Path) -> None:
    """`--json` prints one object with every step, and rows = span events = log records."""
    done = auditspan("tour", "--json", "--data", tmp_path / "tour", OTELCOL_BIN=str(collector_bin))
    said = json.loads(done.stdout)
    assert said["ok"] is True
    assert said["collector"]["version"]
    assert TITLES == [step["title"] for step in said["steps"]]
    left = [(s["rows"], s["span_events"], s["log_records"]) for s in said["steps"]]
    assert [(n, n, n) for n in (1, 1, 0, 0, 0, 1, 0, 1, 0, 3, 3, 1, 3, 1)] == left
    assert ["authorization.failure"] == said["steps"][5]["actions"]


def test_copy_that_is_tampered_with_is_found(tmp_path: Path) -> None:
    """The forged event, and no other, has a false MAC and another leaf."""
    done = auditspan("tour", "--json", "--data", tmp_path / "tour", OTELCOL_BIN="", PATH="/nowhere")
    said = json.loads(done.stdout)
    assert (True, False) == (said["verify"]["ok"], said["tampered"]["ok"])
    findings = said["tampered"]["findings"]
    assert (["mac", "leaf"], 1) == (
        [one["kind"] for one in findings],
        len({one["event_id"] for one in findings}),
    )


def test_tour_stays_until_it_is_stopped(tmp_path: Path, collector_bin: Path) -> None:
    """Every address that it prints answers, after signing in with the key that it prints."""
    log = tmp_path / "tour.log"
    environ = {**clean_environment(), "OTELCOL_BIN": str(collector_bin)}
    tour = Program(
        [AUDITSPAN, "tour", "--stay", "--data", tmp_path / "tour"], environ=environ, log=log
    )
    tour.start()
    try:
        wait_for(lambda: "Press Ctrl-C" in log.read_text())
        said = log.read_text().partition("still running")[2]
        (key,) = re.findall(r"^  (ask_\S+)$", said, re.MULTILINE)
        addresses = re.findall(r"http://\S+", said)
        with httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as client:
            sign_in(client, addresses[0], key)
            answers = {one: client.get(one) for one in addresses}
    finally:
        assert 0 == tour.stop()
    assert 6 == len(answers)
    assert {(200, False)} == {
        (one.status_code, "/sign-in" in one.url.path) for one in answers.values()
    }


def sign_in(client: httpx.Client, url: str, key: str) -> None:
    """Sign in as a browser does."""
    form = client.get(f"{url}sign-in").text
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', form)
    client.post(f"{url}sign-in", data={"key": key, "csrf_token": token})


def test_tour_without_a_collector_uses_the_file_sink(tmp_path: Path) -> None:
    """With neither Go nor a package index the first and last lines say so, and the proof holds."""
    (tmp_path / "bin").mkdir()
    done = auditspan(
        "tour",
        "--data",
        tmp_path / "tour",
        PATH=str(tmp_path / "bin"),  # no go, no otelcol, no uv
        XDG_CACHE_HOME=str(tmp_path / "cache"),  # no earlier build
        UV_INDEX_URL="http://127.0.0.1:9/simple",  # no package index
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS="",
        HOME=os.environ.get("HOME", "/"),
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrote the files itself" in lines[0]
    assert "wrote the files itself" in lines[-1]
