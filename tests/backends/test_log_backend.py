"""Audit records in VictoriaLogs, a log storage that no one here wrote, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from auditspan.telemetry import semconv
from backends import known
from backends.browser import text_of
from backends.log_storage import arrived
from backends.running import Watched, service_beside, started
from backends.seen import is_whole, made_by
from support.relaying import wait_for
from support.running import auditspan

pytestmark = pytest.mark.timeout(1800)  # the first run builds and fetches the backends


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, collector_bin: Path) -> Iterator[Watched]:
    """A service whose records and logs are in VictoriaLogs, and whose traces are in Jaeger."""
    directory = tmp_path_factory.mktemp("both")
    logs, traces = known.victorialogs(directory / "logs"), known.jaeger()
    for one in (directory / "for-logs", directory / "for-traces"):
        one.mkdir()
    with started(logs, directory / "for-logs"), started(traces, directory / "for-traces"):
        for watched in service_beside(logs, directory, collector_bin, traces):
            yield Watched(up=watched.up, backend=logs, traces=traces)


def reconciled(watched: Watched, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the report of `reconcile --backend`."""
    folder = watched.up.said.audit_files.parents[1]
    done = auditspan(
        *("reconcile", "--data", str(folder), "--backend", watched.backend.url, "--json"), *options
    )
    return done.returncode, json.loads(done.stdout)


def test_one_change_is_found_by_its_trace_id_in_both_backends(both: Watched) -> None:
    """VictoriaLogs has its record with the whole body, Jaeger its trace."""
    change = made_by(both, "seen-twice")
    record = arrived(both.backend, change)
    assert change.event_id == record[semconv.RECORD_ID] == json.loads(record["_msg"])["event_id"]
    traced = Watched(up=both.up, backend=both.traces or both.backend)
    traced.find(
        f"/api/traces/{change.trace_id}",
        lambda said: is_whole({span["operationName"] for span in said["data"][0]["spans"]}),
    )


def test_the_page_shows_a_readable_line(both: Watched) -> None:
    """In a browser: event, actor, target and what changed, but no erasable value."""
    change = made_by(both, "readable")
    record = arrived(both.backend, change)
    actor, target = record["audit.actor.id"], record["audit.target.id"]
    line = f"audit.user.create by user/{actor}: user/{target} {{"

    def is_drawn() -> bool:
        page = text_of(known.victorialogs_page(both.backend, change.trace_id))
        return line in page and '"username":{"new":{"$erasable":true}}' in page

    wait_for(is_drawn)


def test_reconcile_finds_every_record_in_the_backend(both: Watched) -> None:
    """Every row is in VictoriaLogs with its body, and nothing else is."""
    arrived(both.backend, made_by(both, "reconciled"))
    wait_for(lambda: reconciled(both)[0] == 0)
    code, report = reconciled(both)
    assert (0, True, report["rows"]) == (code, report["ok"], report["found"])
    assert report["rows"] > 0


def test_records_that_the_storage_lost_are_named(tmp_path: Path, collector_bin: Path) -> None:
    """A storage that is killed loses what it had acknowledged; that is named, and sent again."""
    backend = known.victorialogs(tmp_path / "logs")
    with closing(service_beside(backend, tmp_path, collector_bin)) as services:
        watched = next(services)
        with started(backend, tmp_path):
            kept = made_by(watched, "kept")
            arrived(backend, kept)
        with started(backend, tmp_path) as process:  # it was ended in order, and has what it had
            arrived(backend, kept)
            lost = made_by(watched, "lost")
            arrived(backend, lost)
            process.kill()
        with started(backend, tmp_path):
            code, report = reconciled(watched)
            assert (1, [lost.event_id], []) == (code, report["missing"], report["unknown"])
            again = reconciled(watched, "--resend")[1]["resent"]
            assert [lost.event_id] == again["sent"]
            arrived(backend, lost)
            code, report = reconciled(watched)
            assert (0, []) == (code, report["missing"])


def test_an_unknown_backend_is_refused(both: Watched) -> None:
    """A server that is neither VictoriaLogs nor Loki is no storage without records."""
    traces = both.traces or both.backend
    folder = both.up.said.audit_files.parents[1]
    done = auditspan("reconcile", "--data", str(folder), "--backend", traces.url)
    assert 2 == done.returncode
    assert "is neither VictoriaLogs nor Loki" in done.stderr
