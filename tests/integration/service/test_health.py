"""The probes: what they answer, and what of the workers they tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import text

from auditspan import Actor, audit_context
from auditspan.delivery.otlp_sink import OtlpSink
from auditspan.delivery.relay import Relay
from auditspan.delivery.sinks import FileSink, Sink
from auditspan.delivery.worker import Worker
from auditspan.seal.sealer import Sealer
from auditspan.storage.quarantine import mark_accepted
from auditspan.telemetry import semconv
from auditspan_service.database.engine import make_engine
from integration.sinks.faulty import GOOD, Answer, faulty_collector
from support.attacker import take_guards_away
from support.patience import PATIENCE
from support.service import RunningService, problem, running_service, settings_at

NOTHING = {"rows": 0, "oldest_seconds": None}
FRESH = {
    **NOTHING,
    "quarantined": 0,
    "per_second": 0.0,
    "failures": 0,
    "last_error": None,
    "last_error_seconds": None,
}
NOWHERE = "http://127.0.0.1:1/v1/audit"


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> Iterator[RunningService]:
    """The service on both databases; its sink writes files."""
    settings = settings_at(tmp_path / "data", database_url, sink="file")
    with running_service(settings) as running:
        yield running


def ready(service: RunningService) -> dict[str, Any]:
    """What /readyz says of a service that is ready."""
    response = service.app.test_client().get("/readyz")
    assert response.status_code == 200, response.text
    said: dict[str, Any] = response.get_json()
    return said


def write(service: RunningService, count: int = 1) -> None:
    """Commit audit rows, each in a transaction of its own."""
    with audit_context(actor=Actor.system("test")):
        for number in range(count):
            with service.services.database.writing() as session:
                service.services.trail.record(session, f"test.write{number}")


def seal(service: RunningService, batch: int = 100) -> int:
    """One pass of the sealer."""
    return Sealer(service.services.database.engine, tables(service), batch=batch).seal()


def tables(service: RunningService) -> Any:
    """The tables of the trail."""
    return service.services.trail.tables


def deliver(service: RunningService, sink: Sink) -> None:
    """One turn of the relay."""
    engine = service.services.database.engine
    with engine.connect() as connection:
        Relay(engine, tables(service), sink).deliver(connection)
    sink.close()


@contextmanager
def working(service: RunningService, sink: Sink) -> Iterator[None]:
    """A worker on the same database, with an engine of its own as a process has it."""
    engine = make_engine(service.services.settings.database_url)
    worker = Worker(engine, tables(service), sink, interval=0.02)
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        engine.dispose()


def eventually(service: RunningService, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What /readyz says as soon as it is so."""
    deadline = time.monotonic() + PATIENCE
    while not holds(said := ready(service)):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return said


def is_postgresql(service: RunningService) -> bool:
    """Whether the database knows who is connected."""
    return service.services.database.engine.dialect.name == "postgresql"


def test_nothing_waits(service: RunningService) -> None:
    """On an empty trail nothing waits, and nobody has been seen."""
    assert ready(service) == {
        "status": "ready",
        "unsealed": NOTHING,
        "undelivered": {"file": FRESH},
        "worker": {
            "running": False if is_postgresql(service) else None,
            "last_seen_seconds": None,
        },
    }


def test_rows_wait_for_the_sealer_and_then_for_the_sink(service: RunningService) -> None:
    """A row is counted in one place at a time, with the time since it was recorded."""
    write(service, 3)
    time.sleep(0.1)
    first = ready(service)
    assert (first["unsealed"]["rows"], first["undelivered"]["file"]["rows"]) == (3, 0)
    assert 0.1 <= first["unsealed"]["oldest_seconds"] < 60

    assert seal(service) == 3
    write(service)
    second = ready(service)
    assert (second["unsealed"]["rows"], second["undelivered"]["file"]["rows"]) == (1, 3)
    waited = second["undelivered"]["file"]["oldest_seconds"]
    assert first["unsealed"]["oldest_seconds"] <= waited < 90
    assert second["unsealed"]["oldest_seconds"] < waited

    seal(service)
    deliver(service, FileSink(service.services.settings.collector_files))
    last = ready(service)
    assert (last["unsealed"], last["undelivered"]["file"]) == (
        NOTHING,
        {**FRESH, "per_second": 0.067},  # four records in the last minute
    )
    assert 0 <= last["worker"]["last_seen_seconds"] < 60


def test_a_collector_that_is_away_does_not_make_the_service_unready(
    tmp_path: Path, database_url: str
) -> None:
    """Rows wait and grow older, the worker is at work, and requests are still to be sent here."""
    settings = settings_at(tmp_path / "data", database_url, audit_endpoint=NOWHERE)
    with running_service(settings) as service, working(service, OtlpSink(NOWHERE, timeout=1)):
        kim = service.caller()
        kim.create(username="lee")
        said = eventually(service, lambda said: said["undelivered"]["otlp"]["rows"] == 3)
        later = eventually(
            service, lambda said: said["undelivered"]["otlp"]["oldest_seconds"] >= 0.2
        )
        assert (said["status"], later["unsealed"]) == ("ready", NOTHING)
        assert later["worker"]["running"] is True
        assert kim("GET", "/v1/users").status_code == 200


def test_readyz_reports_the_last_error_of_a_sink(tmp_path: Path, database_url: str) -> None:
    """While attempts fail they are counted; after a success the message stays, with its age."""
    refused = Answer(status=503, body=b"disk full", headers={})
    with faulty_collector(lambda _: refused) as collector:
        settings = settings_at(tmp_path / "data", database_url, audit_endpoint=collector.url)
        with running_service(settings) as service, working(service, OtlpSink(collector.url)):
            service.caller()
            failing = eventually(service, lambda said: said["undelivered"]["otlp"]["failures"] >= 2)
            collector.rule = lambda _: GOOD
            taken = eventually(service, lambda said: said["undelivered"]["otlp"]["failures"] == 0)
    last, first = taken["undelivered"]["otlp"], failing["undelivered"]["otlp"]
    said = f"the collector at {collector.url} answered HTTP 503: disk full"
    assert (said, said, "strict") == (
        first["last_error"],
        last["last_error"],
        last["acknowledgement"],
    )
    assert first["per_second"] == 0 < last["per_second"]
    assert 0 <= first["last_error_seconds"] < 60


def test_a_worker_is_seen(service: RunningService) -> None:
    """One that is connected is known on PostgreSQL at once, with or without something to do.

    On SQLite it is known by what it leaves.
    """
    if not is_postgresql(service):
        write(service)
    with working(service, FileSink(service.services.settings.collector_files)):
        eventually(service, lambda said: said["worker"]["running"] is True)
    if is_postgresql(service):
        eventually(service, lambda said: said["worker"]["running"] is False)


def test_absent_worker_is_reported(service: RunningService, database_url: str) -> None:
    """A row that has waited for minutes says that nobody works, also on SQLite."""
    write(service)
    ago = "now() - interval '5 minutes'" if is_postgresql(service) else "datetime('now', '-300 s')"
    ago = ago.replace("-300 s", "-300 seconds")
    engine = make_engine(database_url)
    with engine.begin() as connection:
        take_guards_away(connection)
        connection.execute(text(f"UPDATE audit_event SET recorded_at = {ago}"))  # noqa: S608
    engine.dispose()
    said = ready(service)
    assert said["worker"]["running"] is False
    assert 299 < said["unsealed"]["oldest_seconds"] < 360


def test_backlog_is_counted_up_to_a_limit(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe costs the same however much waits."""
    monkeypatch.setattr("auditspan.delivery.backlog.MOST", 4)
    write(service, 7)
    assert ready(service)["unsealed"]["rows"] == 4
    seal(service, batch=5)
    assert ready(service)["unsealed"]["rows"] == 2


def test_a_row_that_commits_late_is_not_overlooked(tmp_path: Path, postgresql_url: str) -> None:
    """Its id is smaller than some that are sealed; its transaction was still running then."""
    settings = settings_at(tmp_path / "data", postgresql_url, sink="file")
    with running_service(settings) as service, audit_context(actor=Actor.system("test")):
        with service.services.database.writing() as late:
            service.services.trail.record(late, "test.late")
            late.flush()
            write(service, 3)
            assert seal(service) == 3
            assert ready(service)["unsealed"] == NOTHING
        assert ready(service)["unsealed"]["rows"] == 1
        assert seal(service) == 1
        assert ready(service)["unsealed"] == NOTHING


def test_the_metrics_say_the_same(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    """`audit.queue.depth` is what is undelivered, `audit.seal.lag` the age of what was unsealed."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr("auditspan.telemetry.metrics.metrics.get_meter_provider", lambda: provider)
    write(service, 3)
    time.sleep(0.2)
    unsealed = ready(service)["unsealed"]
    seal(service)
    told = ready(service)["undelivered"]["file"]
    with pytest.raises(Full):
        deliver(service, Full())
    said = values(reader)
    provider.shutdown()
    assert said[semconv.METRIC_QUEUE_DEPTH] == told["rows"] == 3
    assert (
        unsealed["oldest_seconds"]
        <= said[semconv.METRIC_SEAL_LAG]
        < unsealed["oldest_seconds"] + 60
    )


class Full(Exception):  # noqa: N818 (a sink as well)
    """A sink that takes nothing; it raises itself."""

    name = "file"

    def send(self, _records: object) -> None:
        """Take nothing."""
        raise self

    def close(self) -> None:
        """Nothing is open."""


def values(reader: InMemoryMetricReader) -> dict[str, float]:
    """The newest value of every gauge."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if hasattr(point, "value")
    }


def test_a_refused_record_is_counted_until_it_is_taken(service: RunningService) -> None:
    """Quarantined records are not in the way of the rest, and stay visible."""
    write(service, 2)
    seal(service)
    deliver(service, FileSink(service.services.settings.collector_files))
    event_id = service.bodies()[1]["event_id"]
    taken = {**FRESH, "per_second": 0.033}
    with service.services.database.engine.begin() as connection:
        row = {"sink": "file", "seq": 1, "event_id": event_id, "reason": "too large"}
        connection.execute(tables(service).quarantine.insert(), row)
    assert ready(service)["undelivered"]["file"] == {**taken, "quarantined": 1}
    with service.services.database.engine.begin() as connection:
        assert mark_accepted(connection, tables(service), "file", [event_id]) == 1
    assert ready(service)["undelivered"]["file"] == taken


def test_invalid_time_does_not_make_the_service_unready(
    tmp_path: Path, postgresql_url: str
) -> None:
    """Whoever can write to the trail cannot take the service away by what stands in it."""
    settings = settings_at(tmp_path / "data", postgresql_url, sink="file")
    with running_service(settings) as service:
        write(service)
        with service.services.database.engine.begin() as connection:
            take_guards_away(connection)
            connection.execute(text("UPDATE audit_event SET recorded_at = 'infinity'"))
        assert ready(service)["unsealed"] == {"rows": 1, "oldest_seconds": None}


def test_without_its_tables_the_service_is_not_ready(service: RunningService) -> None:
    """No change could be recorded, so none could be made."""
    with service.services.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_event RENAME TO audit_gone"))
    response = service.app.test_client().get("/readyz")
    assert problem(response)["status"] == 503
    assert "auditspan doctor" in problem(response)["detail"]
    assert int(response.headers["Retry-After"]) > 0
