"""A collector that misbehaves: delivered is only what was acknowledged as the protocol says."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from sqlalchemy import select, text

from auditspan.delivery.backoff import LONGEST_ASKED, Backoff
from auditspan.delivery.cursors import load_cursors
from auditspan.delivery.otlp_sink import OtlpSink
from auditspan.errors import SinkUnavailableError
from auditspan.telemetry import semconv
from integration.sinks.faulty import (
    GOOD,
    PROTOBUF,
    Answer,
    FaultyCollector,
    faulty_collector,
    partial,
)
from integration.trust.world import Trail, opened
from support.patience import PATIENCE, promised
from support.relaying import relaying, wait_for

ROWS = 20
FAULT_SECONDS = 1.0
BUSY = 12
"""Requests in the time that a fault lasts; a busy loop makes hundreds."""


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Twenty sealed rows under two checkpoints that nobody has yet."""
    with opened(f"sqlite:///{tmp_path / 'trail.db'}", tmp_path / "collector") as made:
        for _ in range(2):
            made.write(ROWS // 2)
            made.seal()
        yield made


def ids(trail: Trail) -> list[str]:
    """The event ids in the order of the sequence."""
    with trail.engine.connect() as connection:
        return list(connection.scalars(text("SELECT event_id FROM audit_leaf ORDER BY seq")))


def sent(trail: Trail) -> int:
    """How many rows count as delivered."""
    with trail.engine.connect() as connection:
        return load_cursors(connection, trail.tables, "otlp").sent + 1


def quarantined(trail: Trail) -> list[tuple[str, str]]:
    """What was set aside, and why."""
    table = trail.tables.quarantine.c
    with trail.engine.connect() as connection:
        rows = connection.execute(select(table.event_id, table.reason).order_by(table.seq))
        return [(row.event_id, row.reason) for row in rows]


def posting(
    trail: Trail, collector: FaultyCollector, *, timeout: float = PATIENCE
) -> AbstractContextManager[None]:
    """A relay that delivers to this collector, and waits so long for its answer."""
    return relaying(trail.engine, trail.tables, OtlpSink(collector.url, timeout=timeout))


HTML = {"Content-Type": "text/html"}
HANG = "a hang"
FAULTS = {
    "200 with HTML": Answer(body=b"<html>It works!</html>", headers=HTML),
    "200 with HTML that says protobuf": Answer(body=b"<html>It works!</html>"),
    "200 without a type": Answer(headers={}),
    "200 in JSON": Answer(body=b"{}", headers={"Content-Type": "application/json"}),
    "200 with garbage": Answer(body=bytes(range(255, 200, -1))),
    "202": Answer(status=202),
    "204": Answer(status=204),
    "301": Answer(status=301, headers={"Location": "/elsewhere"}),
    "307": Answer(status=307, headers={"Location": "/elsewhere"}),
    "400 to everything": Answer(status=400, body=b"no"),
    "401": Answer(status=401),
    "404": Answer(status=404),
    "413 to everything": Answer(status=413),
    "429": Answer(status=429),
    "500": Answer(status=500),
    "503": Answer(status=503),
    HANG: Answer(after=PATIENCE),
    "a reset in mid-body": Answer(body=b"\n\0" * 50, cut=20),
    "partial success of everything": partial(3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unacknowledged_records_are_not_delivered(trail: Trail, fault: str) -> None:
    """While the fault lasts nothing counts as delivered or is given up, and nobody is pestered.

    When it is over everything comes, in order.
    """
    with (
        faulty_collector(lambda _: FAULTS[fault]) as collector,
        posting(trail, collector, timeout=0.5 if fault == HANG else PATIENCE),
    ):
        wait_for(lambda: len(collector.requests) > 0)
        time.sleep(FAULT_SECONDS)
        assert (0, []) == (sent(trail), quarantined(trail))
        first = collector.requests[0]
        assert BUSY >= sum(moment - first < FAULT_SECONDS for moment in [*collector.requests])
        collector.rule = lambda _: GOOD
        wait_for(lambda: sent(trail) == ROWS)
    taken, checkpoints = collector.taken, collector.checkpoints
    if fault == HANG:  # who waits but a moment may take an answer for lost that was on its way
        taken, checkpoints = [*dict.fromkeys(taken)], [*dict.fromkeys(checkpoints)]
    assert ids(trail) == taken
    assert [10, 20] == checkpoints
    assert [] == quarantined(trail)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_connection_refused_is_reported_with_its_address(scheme: str) -> None:
    """The sentence has the address once, as it was given, and the reason."""
    endpoint = f"{scheme}://127.0.0.1:1/v1/audit"
    with pytest.raises(SinkUnavailableError) as refusal:
        OtlpSink(endpoint).send([])
    address, _, reason = refusal.value.message.partition(" cannot be reached: ")
    assert f"the collector at {endpoint}" == address
    assert re.fullmatch(r"Failed to establish a new connection: .* refused", reason)


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
def test_the_collector_says_when_to_come_back(trail: Trail, status: int, form: str) -> None:
    """Retry-After is honoured, in both of its forms."""

    def rule(_: Sequence[str]) -> Answer:
        later = datetime.now(UTC) + timedelta(seconds=3)  # a date has no fractions
        value = "2" if form == "seconds" else format_datetime(later, usegmt=True)
        return Answer(status=status, headers={"Retry-After": value})

    with (
        faulty_collector(rule) as collector,
        posting(trail, collector),
    ):
        wait_for(lambda: len(collector.requests) >= 1)
        collector.rule = lambda _: GOOD
        wait_for(lambda: sent(trail) == ROWS)
    first, second = collector.requests[:2]
    assert 1.9 <= second - first <= promised(5)


HOSTILE = {
    "1000000000": 1e9,
    "9" * 400: float("inf"),
    "²": None,
    "-5": None,
    "Sun, 06 Nov 2094 08:49:37 -0000": 2e9,
    "Sun, 06 Nov 1994 08:49:37 -0000": 0.0,
    "Sun, 06 Nov 1994 08:49:37 +99999999999999999999": None,
    "Sun, 06 Nov 99999999999999999999 08:49:37 GMT": None,
}


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[-40:]))
def test_hostile_retry_after_is_read_or_ignored(value: str) -> None:
    """A Retry-After header that no date or number of seconds can be read from is ignored."""
    expected = HOSTILE[value]
    answer = Answer(status=503, headers={"Retry-After": value})
    with (
        faulty_collector(lambda _: answer) as collector,
        pytest.raises(SinkUnavailableError) as refusal,
    ):
        OtlpSink(collector.url).send([])
    assert (expected is None) == (refusal.value.retry_after is None)
    assert (expected or 0.0) == pytest.approx(refusal.value.retry_after or 0.0, rel=0.5)


@pytest.mark.parametrize("asked", [1e9, float("inf"), float("nan"), -1e9])
def test_backoff_waits_at_most_five_minutes(asked: float) -> None:
    """The relay waits five minutes at most, whatever a sink asks for."""
    assert Backoff().next(asked) <= LONGEST_ASKED == 300.0


def test_excessive_retry_after_is_counted_and_logged(
    trail: Trail, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Retry-After above the limit leaves a warning and a count, and the relay goes on."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr("auditspan.telemetry.metrics.metrics.get_meter_provider", lambda: provider)
    for module in ("backoff", "reports"):
        monkeypatch.setattr(f"auditspan.delivery.{module}.LONGEST_ASKED", 0.2)
    late = Answer(status=429, headers={"Retry-After": "1000000000"})
    with (
        caplog.at_level(logging.WARNING),
        faulty_collector(lambda _: late) as collector,
        posting(trail, collector),
    ):
        wait_for(lambda: len(collector.requests) >= 2)
        collector.rule = lambda _: GOOD
        wait_for(lambda: sent(trail) == ROWS)
    counted = counter(reader, semconv.METRIC_RETRY_AFTER_CAPPED)
    provider.shutdown()
    assert counted >= 1
    assert "asked for a pause of 1000000000 s" in caplog.text


def counter(reader: InMemoryMetricReader, name: str) -> float:
    """The sum of a counter's points."""
    data = reader.get_metrics_data()
    assert data is not None
    return sum(
        point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    )


def test_waiting_grows(trail: Trail) -> None:
    """Longer from try to try, so that a collector that comes back is not run over."""
    with (
        faulty_collector(lambda _: Answer(status=503)) as collector,
        posting(trail, collector),
    ):
        wait_for(lambda: len(collector.requests) >= 7)
    gaps = [later - earlier for earlier, later in pairwise(collector.requests)]
    assert gaps[5] > 2 * min(gaps)  # each holds a commit too, which may take its time


POISON = {
    "400": Answer(status=400, body=b"I do not like it"),
    "413": Answer(status=413),
    "422": Answer(status=422),
    "partial success": partial(1),
}


@pytest.mark.parametrize("poisoned", [[0], [7], [19], [3, 4, 12]], ids=str)
@pytest.mark.parametrize("kind", POISON)
def test_a_poison_record_is_set_aside_and_the_rest_flows(
    trail: Trail, caplog: pytest.LogCaptureFixture, kind: str, poisoned: list[int]
) -> None:
    """It is found by halving, named with the reason, and stays visible as undelivered."""
    order = ids(trail)
    poison = {order[seq] for seq in poisoned}

    def rule(got: Sequence[str]) -> Answer:
        return POISON[kind] if poison & set(got) else GOOD

    with (
        caplog.at_level(logging.ERROR),
        faulty_collector(rule) as collector,
        posting(trail, collector),
    ):
        wait_for(lambda: sent(trail) == ROWS)
    assert set(order) - poison == set(collector.taken)
    assert {10, 20} == set(collector.checkpoints)
    assert [order[seq] for seq in poisoned] == [event_id for event_id, _ in quarantined(trail)]
    assert all(reason for _, reason in quarantined(trail))
    for event_id in poison:
        assert event_id in caplog.text
    assert len(collector.requests) <= 14 * len(poisoned)


def test_nothing_is_lost_when_the_collector_stumbles_all_the_time(trail: Trail) -> None:
    """One fault after the other: everything arrives at least once."""
    faults = iter([*FAULTS.values()][:8])

    def rule(_: Sequence[str]) -> Answer:
        return next(faults, GOOD)

    with (
        faulty_collector(rule) as collector,
        posting(trail, collector),
    ):
        wait_for(lambda: sent(trail) == ROWS)
        trail.write(5)
        trail.seal()
        wait_for(lambda: sent(trail) == ROWS + 5)
    assert ids(trail) == list(dict.fromkeys(collector.taken))
    assert PROTOBUF == GOOD.headers["Content-Type"]
