"""Of two workers one works; when it is killed, the other goes on within seconds."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from auditspan.storage.keys import load_or_create_signing_keys
from integration.trust.world import Trail, opened
from support.patience import PATIENCE, promised
from support.postgres import migrated_database
from support.relaying import wait_for
from support.running import AUDITSPAN, clean_environment

SECONDS = promised(5)
SENT = text("SELECT coalesce(max(sent_seq) + 1, 0) FROM audit_delivery")


class Workers:
    """Processes that work on one trail."""

    def __init__(self, url: str, folder: Path) -> None:
        key = folder / "signing.key"
        load_or_create_signing_keys(key, create=True)
        self._environ = {
            **clean_environment(),
            "AUDITSPAN_DATABASE_URL": url,
            "AUDITSPAN_SINK": "file",
            "AUDITSPAN_DATA_DIR": str(folder),
            "AUDITSPAN_SIGNING_KEY_FILE": str(key),
        }
        self._errors = folder / "workers.err"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start one more."""
        with self._errors.open("ab") as errors:
            self.running.append(
                subprocess.Popen(
                    [AUDITSPAN, "worker"], env=self._environ, stdout=errors, stderr=errors
                )
            )

    def kill_oldest(self) -> None:
        """Kill the one that was started first."""
        process = self.running.pop(0)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End all of them."""
        while self.running:
            self.kill_oldest()

    def await_running(self, times: int) -> None:
        """Until so many have begun to work, or to wait for the other."""
        wait_for(lambda: self.said().count("worker running") >= times)

    def said(self) -> str:
        """What they have written."""
        return self._errors.read_text()


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """A trail of the service's."""
    with migrated_database() as url, opened(url, tmp_path / "collector") as made:
        yield made


def delivered_within(trail: Trail, rows: int, seconds: float) -> float:
    """Seconds until so many rows are delivered."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        with trail.engine.connect() as connection:
            if connection.scalar(SENT) == rows:
                return time.monotonic() - began
        time.sleep(0.02)
    pytest.fail(f"{rows} rows were not delivered within {seconds} seconds")


def test_another_worker_goes_on(trail: Trail, tmp_path: Path) -> None:
    """Whichever of the two works, a row that is written after it was killed arrives in time."""
    url = trail.engine.url.render_as_string(hide_password=False)
    workers = Workers(url, tmp_path)
    try:
        workers.start()
        workers.start()
        trail.write(1)
        delivered_within(trail, 1, PATIENCE)
        workers.await_running(2)
        for rows in (2, 3):  # one of the two is the one that works
            workers.kill_oldest()
            trail.write(1)
            taken = delivered_within(trail, rows, SECONDS)
            print(f"after {taken:.2f} seconds")  # noqa: T201 (shown when it fails)
            workers.start()
            workers.await_running(rows + 1)
    finally:
        workers.stop()
    report = trail.report()
    assert (3, 3) == (report.rows, report.tree_size), workers.said()
