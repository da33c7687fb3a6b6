"""Delivery to a topic of one broker."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from sqlalchemy import select

from auditspan.errors import AuditConfigError, SinkUnavailableError
from auditspan.telemetry import semconv
from auditspan_service.database.engine import make_engine
from integration.trust.world import Trail
from kafka.brokers import PASSWORD, USER, Kafka
from kafka.trails import (
    TARGETS,
    client_of,
    entry_of,
    first_copies,
    headers_of,
    reconciled,
    sink_of,
    write,
)
from support.collector import run_collector

FORMATS = {"protobuf": b"application/x-protobuf", "json": b"application/json"}
LOGIN = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": USER,
    "sasl.password": PASSWORD,
    "compression.type": "zstd",
}


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """A trail without rows."""
    return Trail(engine=make_engine(f"sqlite:///{tmp_path}/trail.db"), folder=tmp_path)


@pytest.mark.parametrize("form", FORMATS)
def test_each_record_is_a_message_keyed_by_its_target(
    broker: Kafka, trail: Trail, form: str
) -> None:
    """Key, headers, the exact body, and a checkpoint keyed by the name of the trail."""
    topic = broker.make_topic(f"keyed-{form}")
    write(trail, 80)
    trail.seal(batch=10)
    trail.deliver(sink_of(broker.url(topic, f"?format={form}")))
    keys = Counter[Any]()
    for message in broker.messages(topic):
        entry, headers = entry_of(message), headers_of(message)
        attributes = entry.attributes
        assert FORMATS[form] == headers["content-type"]
        if entry.event_name == semconv.EVENT_CHECKPOINT:
            assert (b"auditspan/test", 1) == (message.key(), len(headers))
        else:
            assert ("user/" + str(attributes[semconv.TARGET_ID])).encode() == message.key()
            assert str(attributes[semconv.RECORD_ID]).encode() == headers[semconv.RECORD_ID]
        keys[message.key()] += 1
    assert (TARGETS + 1, 88, 8) == (len(keys), keys.total(), keys[b"auditspan/test"])
    assert all(sorted(one) == one for one in first_copies(broker.messages(topic)).values())


@pytest.mark.parametrize("form", FORMATS)
def test_reconcile_finds_every_record(broker: Kafka, trail: Trail, form: str) -> None:
    """Each once, without a difference; another program's messages are counted."""
    topic = broker.make_topic(f"whole-{form}")
    write(trail, 700)
    trail.seal()
    trail.deliver(sink_of(broker.url(topic, f"?format={form}")))
    producer = Producer({"bootstrap.servers": broker.servers})
    for value in (b"hello", b"{}", b"{", b"\x0a\xff", None):
        producer.produce(topic, value)
    producer.flush()
    report, tally = reconciled(trail, broker.url(topic))
    assert (True, 700, 700, 0) == (report.ok, report.rows, report.found, report.duplicates)
    assert (5, {}) == (tally.foreign, tally.removed)
    assert tally.messages == 700 + 7 + 5  # a checkpoint for each batch of 100


def test_collector_takes_every_message(
    broker: Kafka, trail: Trail, tmp_path: Path, collector_bin: Path
) -> None:
    """A message is a request that a collector parses; its Kafka receiver uses the same parsers."""
    with run_collector(collector_bin, tmp_path) as collector:
        for form in FORMATS:
            topic = broker.make_topic(f"parsed-{form}")
            write(trail, 3)
            trail.seal()
            trail.deliver(sink_of(broker.url(topic, f"?format={form}")))
            for message in broker.messages(topic):
                headers = {"Content-Type": headers_of(message)["content-type"].decode()}
                value = message.value()
                assert isinstance(value, bytes)
                answer = httpx.post(collector.audit_endpoint, content=value, headers=headers)
                assert 200 == answer.status_code


def test_reconcile_names_removed_records(broker: Kafka, trail: Trail) -> None:
    """Records that the broker deleted are missing, and the partition says where it begins."""
    topic = broker.make_topic("removed", partitions=1)
    write(trail, 50)
    trail.seal()
    trail.deliver(sink_of(broker.url(topic)))
    broker.delete_records(topic, 0, 20)
    report, tally = reconciled(trail, broker.url(topic))
    assert (False, 20, {0: 20}) == (report.ok, len(report.missing), tally.removed)
    trail.deliver(sink_of(broker.url(topic)))
    broker.delete_records(topic, 0, -1)
    report, tally = reconciled(trail, broker.url(topic))
    assert (50, 0) == (len(report.missing), tally.messages)


def test_missing_topic_is_awaited_and_not_created(broker: Kafka, trail: Trail) -> None:
    """Records wait until the topic exists, although this broker would create it on demand."""
    sink = sink_of(broker.url("awaited"))
    write(trail, 5)
    trail.seal()
    for _ in range(2):
        with pytest.raises(SinkUnavailableError, match="has no topic awaited"):
            trail.deliver(sink)
    assert "awaited" not in broker.admin.list_topics().topics
    broker.make_topic("awaited")
    trail.deliver(sink)
    assert reconciled(trail, broker.url("awaited"))[0].ok


def test_record_larger_than_the_topic_takes_is_quarantined(
    broker: Kafka, trail: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named and stays undelivered; all others are there, in order."""
    topic = broker.make_topic("small", partitions=1, max_message_bytes="8000")
    sink = sink_of(broker.url(topic))
    write(trail, 30)
    [large] = write(trail, 1, length=15_000)
    write(trail, 30)
    trail.seal()
    with caplog.at_level(logging.ERROR):
        trail.deliver(sink)
    assert f"record {large} is quarantined: the topic small refuses a message" in caplog.text
    report, _ = reconciled(trail, broker.url(topic))
    assert [large] == report.missing
    for numbers in first_copies(broker.messages(topic)).values():
        assert sorted(numbers) == numbers
    with trail.engine.connect() as connection:
        quarantined = connection.execute(select(trail.tables.quarantine.c.seq)).scalars().all()
    assert [30] == quarantined


def test_wrong_password_is_reported_without_it(broker: Kafka, trail: Trail) -> None:
    """The broker's refusal is the reason; with the right password records arrive."""
    topic = broker.make_topic("login")
    url = f"kafka://{broker.brokers[0].login}/{topic}"
    wrong = {**LOGIN, "sasl.password": "wrong-pass-word"}
    write(trail, 5)
    trail.seal()
    with pytest.raises(SinkUnavailableError, match="uthentication") as failure:
        trail.deliver(sink_of(url, wrong))
    assert "pass-word" not in str(failure.value)
    assert "pass-word" not in repr(client_of(url, wrong))
    trail.deliver(sink_of(url, LOGIN))
    assert reconciled(trail, url, LOGIN)[0].ok


def test_invalid_property_is_refused(broker: Kafka) -> None:
    """A name that the client does not know is an error of the settings."""
    with pytest.raises(AuditConfigError, match=r"no\.such\.property"):
        sink_of(broker.url("any"), {"no.such.property": "1"})


def test_sink_reports_a_broker_that_is_away() -> None:
    """The error says why, and the attempt ends long before the timeout."""
    sink = sink_of("kafka://127.0.0.1:1/audit")
    started = time.monotonic()
    with pytest.raises(SinkUnavailableError, match=r"127\.0\.0\.1:1 cannot be reached.*refused"):
        sink.send([])
    assert time.monotonic() - started < 8
