"""A worker that cannot go on does not stand in the way of one that can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from auditspan.delivery.cursors import load_cursors
from auditspan.delivery.log_record import ExportRecord
from auditspan.delivery.sinks import FileSink, Sink
from auditspan_service.database.engine import make_engine
from faults.place import wait_for
from integration.trust.world import Trail, opened
from support.cluster import Cluster
from support.patience import PATIENCE
from support.relaying import relaying


class BrokenSink(FileSink):
    """Fails in a way that no sink should, where a sound one writes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.failures = 0

    def send(self, records: Sequence[ExportRecord]) -> None:  # noqa: ARG002 (a sink's)
        """Fail."""
        self.failures += 1
        raise RuntimeError("out of memory, say")


@contextmanager
def another(url: str, trail: Trail, sink: Sink) -> Iterator[None]:
    """A relay with connections of its own, as another process has it."""
    engine = make_engine(url)
    with relaying(engine, trail.tables, sink):
        yield
    engine.dispose()


def test_a_relay_that_fails_gives_way(cluster: Cluster, tmp_path: Path) -> None:
    """It gives the lock back, and another one delivers."""
    with cluster.database() as url, opened(url, tmp_path / "collector") as trail:
        trail.write(10)
        trail.seal()
        broken = BrokenSink(tmp_path / "collector")
        with another(url, trail, broken):
            wait_for(lambda: broken.failures > 0, PATIENCE, "it was not asked")
            with another(url, trail, FileSink(tmp_path / "collector")):
                wait_for(lambda: sent(trail) == 10, PATIENCE, "nobody delivers")


def sent(trail: Trail) -> int:
    """How many rows are delivered."""
    with trail.engine.connect() as connection:
        return load_cursors(connection, trail.tables, "file").sent + 1
