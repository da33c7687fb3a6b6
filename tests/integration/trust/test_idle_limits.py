"""Long transactions under a role whose idle transactions PostgreSQL ends early."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from auditspan.delivery.cursors import load_cursors
from auditspan.delivery.log_record import ExportRecord
from auditspan.seal.last_signed import IsGrownFrom
from auditspan.storage import snapshot
from auditspan.tlog.merkle import Tree
from auditspan.verify.reconciliation import reconcile
from auditspan.verify.state import check_state
from auditspan.verify.trail import verify_trail
from auditspan_service.cli.target import ServiceTarget
from auditspan_service.models import Base
from integration.trust.conftest import BATCHES, grown
from integration.trust.world import KEY, MAC, Trail, opened
from support.postgres import migrated_database

LIMIT = "1s"  # a busy machine takes a tenth of it between two statements
PAUSE = 1.5


class SlowMemory:
    """A `LastSigned` that takes its time inside the transaction of the sealer."""

    def incarnation(
        self,
        tree: Tree,  # noqa: ARG002
        incarnation: int,
        *,
        is_grown_from: IsGrownFrom | None = None,  # noqa: ARG002
    ) -> int:
        """Return the incarnation of the table after a pause."""
        time.sleep(PAUSE)
        return incarnation

    def remember(self, note: str) -> None:
        """Keep nothing."""


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Trail]:
    """Provide a delivered trail on a PostgreSQL that ends idle transactions."""
    with grown("postgresql", tmp_path, *BATCHES) as trail:
        Base.metadata.create_all(trail.engine)  # whose transaction is the application's own
        limit_idle_time(trail.engine)
        yield trail


def limit_idle_time(engine: Engine) -> None:
    """Let PostgreSQL end the sessions of this database that are idle for long."""
    name = engine.url.database
    with engine.begin() as connection:
        for setting in ("idle_in_transaction_session_timeout", "idle_session_timeout"):
            connection.execute(text(f"ALTER DATABASE {name} SET {setting} = '{LIMIT}'"))
    engine.dispose()


def pause(*_: object) -> None:
    """Take longer than the limit."""
    time.sleep(PAUSE)


def slowly(path: Path) -> Iterator[Path]:
    """Yield a path between two pauses."""
    pause()
    yield path
    pause()


def test_reconcile_reads_slow_files_in_its_transaction(limited: Trail) -> None:
    """Reading the files may take longer than the limit, before and after the first statement."""
    with snapshot(limited.engine) as connection:
        report = reconcile(connection, limited.tables, slowly(limited.folder / "audit"))
    assert (True, sum(BATCHES)) == (report.ok, report.found)


def test_verify_computes_between_its_statements(limited: Trail) -> None:
    """Hashing may take longer than the limit."""
    with snapshot(limited.engine) as connection:
        report = verify_trail(connection, limited.tables, MAC, [KEY.public], progress=pause)
    assert ([], sum(BATCHES)) == (report.findings, report.tree_size)


def test_state_check_computes_between_its_statements(limited: Trail) -> None:
    """Replaying may take longer than the limit."""
    with snapshot(limited.engine) as connection:
        report = check_state(connection, limited.tables, Base.metadata, mac_key=MAC, progress=pause)
    assert sum(BATCHES) == report.events


def test_sealer_signs_slowly(limited: Trail) -> None:
    """The sealer may take longer than the limit between two statements."""
    limited.last_signed = SlowMemory()
    limited.write(2)
    limited.seal()
    assert sum(BATCHES) + 2 == limited.report().tree_size


class SlowSink:
    """A sink that takes longer than the limit for each batch."""

    name = "slow"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Count the records after a pause."""
        time.sleep(PAUSE)
        self.batches.append(len(records))

    def close(self) -> None:
        """Keep nothing."""


def test_relay_sends_slowly(limited: Trail) -> None:
    """Sending a batch may take longer than the limit, and each record is sent once."""
    sink = SlowSink()
    limited.deliver(sink)
    limited.write(2)
    limited.seal()
    limited.deliver(sink)
    assert sum(BATCHES) + len(BATCHES) + 3 <= sum(sink.batches)
    with limited.engine.connect() as connection:
        assert sum(BATCHES) + 1 == load_cursors(connection, limited.tables, sink.name).sent


def test_command_may_pause_in_its_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose output is read slowly may pause longer than the limit."""
    with migrated_database() as url, opened(url, Path()) as trail:
        limit_idle_time(trail.engine)
        monkeypatch.setenv("AUDITSPAN_DATABASE_URL", url)
        with ServiceTarget().reading() as (connection, _):
            for _ in range(2):  # the second transaction is allowed to pause, too
                connection.execute(select(1))
                pause()
                assert 1 == connection.scalar(select(1))
                connection.rollback()
