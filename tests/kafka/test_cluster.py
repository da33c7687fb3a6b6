"""A cluster of three brokers, one of which is killed while events are written."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from auditspan.cli.doctor import Examination, examine_sink
from auditspan.delivery.worker import Worker
from auditspan.errors import SinkUnavailableError
from auditspan.trail.settings import TrailSettings, load_settings
from auditspan_service.database.engine import make_engine
from integration.trust.world import KEY, MAC, Trail
from kafka.brokers import Kafka
from kafka.trails import TARGETS, first_copies, reconciled, sink_of, write
from support.patience import PATIENCE
from support.relaying import wait_for
from support.running import auditspan

RATE, AT_ONCE, SECONDS = 2000, 100, 10
APPLICATION = """
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail

trail = AuditTrail(sessionmaker(create_engine({url!r})), metadata=MetaData(), mac_key=None)
"""


@pytest.fixture
def trail(postgres_url: str, tmp_path: Path) -> Iterator[Trail]:
    """A trail on PostgreSQL, without rows."""
    engine = make_engine(postgres_url)
    yield Trail(engine=engine, folder=tmp_path)
    engine.dispose()


@contextmanager
def working(trail: Trail, url: str) -> Iterator[Worker]:
    """A worker that delivers to a topic."""
    worker = Worker(
        trail.engine, trail.tables, sink_of(url), signing_key=KEY, mac_key=MAC, interval=0.05
    )
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def write_steadily(trail: Trail) -> float:
    """Commit events for some seconds, at their rate; the rate that was reached."""
    started = time.monotonic()
    for number in range(SECONDS * RATE // AT_ONCE):
        time.sleep(max(0.0, started + number * AT_ONCE / RATE - time.monotonic()))
        write(trail, AT_ONCE)
    return trail.written / (time.monotonic() - started)


def kill_and_start(cluster: Kafka, trail: Trail) -> None:
    """Kill a broker in the middle of the load, and start it again before the end."""
    wait_for(lambda: trail.written > SECONDS * RATE * 0.3)
    cluster.brokers[0].kill()
    wait_for(lambda: trail.written > SECONDS * RATE * 0.7)
    cluster.brokers[0].start()


def test_killed_broker_loses_nothing_and_keeps_the_order(
    cluster: Kafka, trail: Trail, tmp_path: Path
) -> None:
    """At 2,000 events a second every event arrives, first copies of each target in order."""
    url = cluster.url(cluster.make_topic("load", partitions=6, min_insync_replicas="2"))
    with working(trail, url) as worker:
        killing = threading.Thread(target=kill_and_start, args=(cluster, trail))
        killing.start()
        rate = write_steadily(trail)
        killing.join()
        assert worker.drain(PATIENCE)
    cluster.await_brokers()
    report, tally = reconciled(trail, url)
    print(f"{rate:.0f} events/s, {report.duplicates} copies, {tally.messages} messages")  # noqa: T201
    assert (RATE * SECONDS, RATE * SECONDS) == (report.rows, report.found)
    assert ([], [], [], 0) == (report.missing, report.unknown, report.different, tally.foreign)
    order = first_copies(cluster.messages("load"))
    assert (TARGETS, RATE * SECONDS) == (len(order), sum(map(len, order.values())))
    assert [] == [key for key, numbers in order.items() if sorted(numbers) != numbers]
    engine_url = trail.engine.url.render_as_string(hide_password=False)
    (tmp_path / "shop.py").write_text(APPLICATION.format(url=engine_url), encoding="utf-8")
    command = ("--app", "shop:trail", "reconcile", "--kafka", url, "--json")
    done = auditspan(*command, PYTHONPATH=str(tmp_path))
    assert 0 == done.returncode, done.stderr
    said = json.loads(done.stdout)
    assert (True, RATE * SECONDS) == (said["ok"], said["found"])
    assert {"name": "load", "messages": tally.messages, "foreign": 0, "removed": {}} == said[
        "topic"
    ]


def refusal(trail: Trail, url: str) -> str:
    """The error of a delivery; nothing where the broker still counts as in sync."""
    write(trail, 1)
    trail.seal()
    try:
        trail.deliver(sink_of(url, timeout=4.0))
    except SinkUnavailableError as error:
        return error.message
    return ""


def test_records_wait_for_enough_replicas(cluster: Kafka, trail: Trail) -> None:
    """With fewer replicas in sync than required nothing counts as delivered, and both say why."""
    topic = cluster.make_topic("waiting", partitions=1, min_insync_replicas="3")
    url = cluster.url(topic)
    write(trail, 10)
    trail.seal()
    cluster.brokers[2].kill()
    wait_for(lambda: "partition 0 has 2 of 3 replicas in sync" in refusal(trail, url))
    examination = Examination(is_embedded=True)
    examine_sink(examination, settings(url))
    sentences = [one.detail for one in examination.found]
    assert any("has 2 replicas in sync, and min.insync.replicas is 3" in one for one in sentences)
    cluster.brokers[2].start()
    with working(trail, url) as worker:
        assert worker.drain(PATIENCE)
    assert reconciled(trail, url)[0].ok


def test_doctor_names_a_single_required_replica(cluster: Kafka) -> None:
    """Of three replicas with min.insync.replicas 1, one broker alone could acknowledge."""
    topic = cluster.make_topic("alone", min_insync_replicas="1")
    examination = Examination(is_embedded=True)
    examine_sink(examination, settings(cluster.url(topic)))
    [found] = examination.found
    assert "has 3 replicas, but min.insync.replicas is 1" in found.detail
    assert "removes records after 7 days, 0:00:00 (retention.ms)" in examination.notes[0]


def settings(url: str) -> TrailSettings:
    """Settings with this destination alone."""
    return load_settings(TrailSettings, sink="file", more_sinks={"kafka": url})
