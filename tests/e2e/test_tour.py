"""`auditspan tour`: the first thing that anybody runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from support.running import auditspan

TITLES = [
    "create a user",
    "update the user",
    "update with a stale ETag",
    "create a duplicate username",
    "call without an API key",
    "fail after the flush",
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


def test_the_tour_says_what_happened_as_json(tmp_path: Path, collector_bin: Path) -> None:
    """`--json` prints one object with every step, and rows = span events = log records."""
    done = auditspan("tour", "--json", "--data", tmp_path / "tour", OTELCOL_BIN=str(collector_bin))
    said = json.loads(done.stdout)
    assert said["ok"] is True
    assert said["collector"]["version"]
    assert [step["status"] for step in said["steps"]] == [201, 200, 412, 409, 401, 500, 204]
    left = [(s["rows"], s["span_events"], s["log_records"]) for s in said["steps"]]
    assert left == [(1, 1, 1), (1, 1, 1), *[(0, 0, 0)] * 4, (1, 1, 1)]


def test_without_any_collector_the_tour_writes_files_itself_and_says_so(tmp_path: Path) -> None:
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
