"""A trail, the topic that it is delivered to, and what the topic then holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Message

from auditspan import Target
from auditspan.delivery.kafka import KafkaAddress, KafkaClient, KafkaSink
from auditspan.storage.new_events import insert_records
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import LogEntry, logs_of_json, logs_of_protobuf
from auditspan.verify import ReconcileReport, reconcile_records
from auditspan.verify.backends import TopicTally, read_kafka
from integration.trust.world import MAC, Trail, record

SECONDS = 10.0
TARGETS = 50


def write(trail: Trail, count: int, *, length: int = 0) -> list[str]:
    """Commit events of a few targets, which take turns; their ids."""
    numbers = range(trail.written, trail.written + count)
    records = [
        record(n, length=length)._replace(target=Target(type="user", id=str(n % TARGETS)))
        for n in numbers
    ]
    with trail.engine.begin() as connection:
        insert_records(connection, trail.tables, records, MAC)
    trail.written += count
    return [str(one.event_id) for one in records]


def client_of(url: str, properties: Mapping[str, str] | None = None) -> KafkaClient:
    """How to connect."""
    return KafkaClient(address=KafkaAddress.parse(url), properties=properties or {})


def sink_of(
    url: str, properties: Mapping[str, str] | None = None, *, timeout: float = SECONDS
) -> KafkaSink:
    """The sink of a topic."""
    return KafkaSink(client_of(url, properties), timeout=timeout)


def reconciled(
    trail: Trail, url: str, properties: Mapping[str, str] | None = None
) -> tuple[ReconcileReport, TopicTally]:
    """The differences between a trail and a topic, and what was counted in the topic."""
    tally = TopicTally()
    with trail.engine.connect() as connection:
        records = read_kafka(client_of(url, properties), tally)
        return reconcile_records(connection, trail.tables, records), tally


def entry_of(message: Message) -> LogEntry:
    """The only log record in a message."""
    value = message.value()
    assert isinstance(value, bytes)
    is_json = headers_of(message)["content-type"] == b"application/json"
    [entry] = logs_of_json(json.loads(value)) if is_json else logs_of_protobuf(value)
    assert isinstance(entry, LogEntry)
    return entry


def headers_of(message: Message) -> dict[str, Any]:
    """The headers of a message, none of which is repeated."""
    headers: Any = message.headers() or []
    assert len(dict(headers)) == len(headers)
    return dict(headers)


def first_copies(messages: Iterable[Message]) -> dict[bytes, list[int]]:
    """The sequence numbers of each key, without repeated ones, in the order of the topic."""
    found: dict[bytes, dict[int, None]] = {}
    for message in messages:
        seq = entry_of(message).attributes.get(semconv.SEQUENCE_NUMBER)
        key = message.key()
        if isinstance(seq, int):
            assert isinstance(key, bytes)
            found.setdefault(key, {}).setdefault(seq)
    return {key: list(numbers) for key, numbers in found.items()}
