"""A process that starts before its database waits for it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditspan.storage.keys import (
    load_or_create_erasure_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
)
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from support.cluster import Cluster
from support.program import Program
from support.relaying import wait_for
from support.running import AUDITSPAN, auditspan, clean_environment


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server that a test may stop."""
    made = Cluster.make()
    yield made
    made.destroy()


def environ(folder: Path, url: str) -> dict[str, str]:
    """The settings of a worker on this database, whose keys are there."""
    load_or_create_signing_keys(folder / "keys" / "signing.key", create=True)
    load_or_create_mac_key(folder / "keys" / "mac.key", create=True)
    load_or_create_erasure_keys(folder / "keys" / "erasure.key", create=True)
    return {
        "AUDITSPAN_DATABASE_URL": url,
        "AUDITSPAN_SINK": "file",
        "AUDITSPAN_DATA_DIR": str(folder),
    }


@pytest.mark.parametrize(
    ("command", "started"),
    [(["worker"], "worker running"), (["serve", "--port", "0"], "Listening")],
)
def test_process_that_starts_before_postgresql_waits_for_it(
    tmp_path: Path, cluster: Cluster, command: list[str], started: str
) -> None:
    """A worker or server started while PostgreSQL is away runs as soon as it is there."""
    with cluster.database() as url:
        engine = make_engine(url)
        upgrade(engine)
        engine.dispose()
        cluster.crash()
        program = Program(
            [AUDITSPAN, *command],
            environ={**clean_environment(), **environ(tmp_path, url)},
            log=tmp_path / "log",
        )
        program.start()
        try:
            wait_for(lambda: "waiting for the database" in program.log.read_text())
            time.sleep(1)
            assert program.running
            cluster.start()
            wait_for(lambda: started in program.log.read_text())
            assert 0 == program.stop()
        finally:
            program.kill()


def test_worker_that_waits_can_be_stopped(tmp_path: Path) -> None:
    """SIGTERM ends a worker in order while it waits for its database."""
    url = "postgresql://nobody@127.0.0.1:1/x"
    program = Program(
        [AUDITSPAN, "worker"],
        environ={**clean_environment(), **environ(tmp_path, url)},
        log=tmp_path / "log",
    )
    program.start()
    wait_for(lambda: "waiting for the database" in program.log.read_text())
    assert 0 == program.stop()


def test_worker_without_its_database_exits(tmp_path: Path, cluster: Cluster) -> None:
    """A server that knows no such database is not waited for."""
    url = cluster.url.set(database="nowhere").render_as_string(hide_password=False)
    done: subprocess.CompletedProcess[str] = auditspan("worker", **environ(tmp_path, url))
    assert (2, True) == (done.returncode, "does not exist" in done.stderr)
