"""Several destinations: each has a relay and a cursor of its own, and delays none of the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from auditspan.delivery.cursors import load_cursors
from auditspan.delivery.otlp_sink import OtlpSink
from auditspan.delivery.sinks import FileSink, Sink
from auditspan.delivery.worker import Worker
from auditspan.errors import AuditConfigError
from auditspan.storage.event_filter import EventFilter
from auditspan.storage.events import find_events
from auditspan.telemetry.otlp.files import read_logs
from integration.sinks.faulty import GOOD, Answer, Rule, faulty_collector
from integration.trust.world import KEY, MAC, Trail, opened
from support.collector import run_collector
from support.patience import PATIENCE, promised
from support.postgres import empty_database
from support.relaying import wait_for

IN_TIME = promised(5.0)
"""Seconds from the commit to the destination that works; a second is usual."""

ROUNDS = 5
ROWS = 20


@pytest.fixture(params=["sqlite", "postgresql"])
def trail(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trail]:
    """A trail without a row, on each database."""
    if request.param == "sqlite":
        with opened(f"sqlite:///{tmp_path / 'trail.db'}", tmp_path) as made:
            yield made
        return
    with empty_database() as url, opened(url, tmp_path) as made:
        yield made


@contextmanager
def working(trail: Trail, *sinks: Sink) -> Iterator[Worker]:
    """A worker for these sinks."""
    worker = Worker(trail.engine, trail.tables, sinks, interval=0.05, signing_key=KEY, mac_key=MAC)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def sent(trail: Trail, sink: str) -> int:
    """How many rows a sink has acknowledged."""
    with trail.engine.connect() as connection:
        return load_cursors(connection, trail.tables, sink).sent + 1


def ids(trail: Trail) -> list[str]:
    """The event ids in the order of the sequence."""
    leaf = trail.tables.leaf.c
    with trail.engine.connect() as connection:
        return list(connection.scalars(select(leaf.event_id).order_by(leaf.seq)))


def arrived(directory: Path) -> list[object]:
    """The different event ids in the files of a destination, in order."""
    found = (entry.attributes.get("audit.record.id") for entry in read_logs(directory))
    return list(dict.fromkeys(one for one in found if one is not None))


def write_in_time(trail: Trail, sink: str) -> None:
    """Some commits, each of which is with this sink soon after."""
    for number in range(1, ROUNDS + 1):
        trail.write(ROWS)
        wait_for(lambda total=number * ROWS: sent(trail, sink) == total, IN_TIME)  # type: ignore[misc]


def test_unreachable_collector_does_not_delay_the_other(
    trail: Trail, collector_bin: Path, tmp_path: Path
) -> None:
    """The other has every record in time; the first gets all of them, in order, once it is back."""
    with (
        run_collector(collector_bin, tmp_path / "one") as one,
        run_collector(collector_bin, tmp_path / "two") as two,
        working(
            trail,
            OtlpSink(one.audit_endpoint),
            OtlpSink(two.audit_endpoint, name="archive"),
        ) as worker,
    ):
        one.kill()
        write_in_time(trail, "archive")
        assert 0 == sent(trail, "otlp")
        assert not worker.is_caught_up()
        one.restart()
        assert worker.drain(PATIENCE)
        assert ids(trail) == arrived(one.audit_files) == arrived(two.audit_files)


HANGS = Answer(after=PATIENCE)
REFUSES = Answer(status=400, body=b"no")
TROUBLES: dict[str, Rule] = {
    "hangs": lambda _: HANGS,
    "refuses everything": lambda _: REFUSES,
    "is overloaded": lambda _: Answer(status=503, headers={"Retry-After": "60"}),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_faulty_collector_does_not_delay_the_other(
    trail: Trail, tmp_path: Path, trouble: str
) -> None:
    """Whatever one destination does, the other has every record in time."""
    with (
        faulty_collector(TROUBLES[trouble]) as faulty,
        working(
            trail,
            FileSink(tmp_path / "files"),
            OtlpSink(faulty.url, name="archive", timeout=0.5),
        ),
    ):
        write_in_time(trail, "file")
        wait_for(lambda: len(faulty.requests) > 0)
    assert ids(trail) == arrived(tmp_path / "files")
    assert (0, []) == (sent(trail, "archive"), quarantined(trail))


def test_a_record_that_one_refuses_reaches_the_other(trail: Trail, tmp_path: Path) -> None:
    """It is set aside for the one sink alone, and counts as delivered."""
    poison: list[str] = []

    def rule(got: object) -> Answer:
        return REFUSES if set(poison) & set(got) else GOOD  # type: ignore[call-overload]

    trail.write(ROWS)
    trail.seal()
    poison.append(ids(trail)[7])
    with (
        faulty_collector(rule) as picky,
        working(trail, FileSink(tmp_path / "files"), OtlpSink(picky.url, name="archive")) as worker,
    ):
        assert worker.drain(PATIENCE)
    assert ids(trail) == arrived(tmp_path / "files")
    assert set(ids(trail)) - set(poison) == set(picky.taken)
    assert [("archive", poison[0])] == quarantined(trail)
    with trail.engine.connect() as connection:
        events = find_events(connection, trail.tables, EventFilter(), limit=ROWS)
    assert [True] * ROWS == [event.delivered for event in events]


def quarantined(trail: Trail) -> list[tuple[str, str]]:
    """What was set aside, and for which sink."""
    table = trail.tables.quarantine.c
    with trail.engine.connect() as connection:
        rows = connection.execute(select(table.sink, table.event_id))
        return [(row.sink, row.event_id) for row in rows]


def test_a_destination_that_is_added_later_gets_everything(trail: Trail, tmp_path: Path) -> None:
    """It begins with the first row of the trail."""
    files = FileSink(tmp_path / "files")
    trail.write(ROWS)
    with working(trail, files) as worker:
        assert worker.drain(PATIENCE)
    trail.write(ROWS)
    with working(trail, files, NamedFiles(tmp_path / "archive")) as worker:
        assert worker.drain(PATIENCE)
    assert ids(trail) == arrived(tmp_path / "archive") == arrived(tmp_path / "files")


class NamedFiles(FileSink):
    """Files under another name."""

    name = "archive"


def test_two_destinations_of_one_name_are_refused(trail: Trail, tmp_path: Path) -> None:
    """They would share a cursor, and one of them would miss what the other has taken."""
    sinks = [FileSink(tmp_path / "one"), FileSink(tmp_path / "two")]
    with pytest.raises(AuditConfigError, match="two sinks have the same name"):
        Worker(trail.engine, trail.tables, sinks)


def test_a_destination_with_a_reserved_name_is_refused(trail: Trail, tmp_path: Path) -> None:
    """Its cursor could not be told from a lease."""
    sink = NamedFiles(tmp_path / "one")
    sink.name = "lease:archive"
    with pytest.raises(AuditConfigError, match="reserved for leases"):
        Worker(trail.engine, trail.tables, sink)
