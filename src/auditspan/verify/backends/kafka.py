"""A Kafka topic, read from its beginning to its end, without a consumer group.

The end is that of the start: a topic that is written meanwhile has no other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditspan.delivery.kafka import KafkaClient, library, reason_of
from auditspan.errors import LogBackendError
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import LogEntry, MalformedError, logs_of_json, logs_of_protobuf
from auditspan.verify.backends.delivered import Delivered, delivered_of

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message

_SECONDS = 30.0
"""The longest time without an answer or a message."""

_AT_ONCE = 500

Advance = Callable[[int, int], None]
"""Takes the number of messages since the last call, and that of all messages."""


@dataclass(kw_only=True)
class TopicTally:
    """Counts of the messages of a topic.

    Attributes:
        messages: the messages that were read.
        foreign: those that are neither audit records nor checkpoints.
        removed: the first offset of each partition from which the broker has removed messages.
    """

    messages: int = 0
    foreign: int = 0
    removed: dict[int, int] = field(default_factory=dict)


def read_kafka(
    client: KafkaClient, tally: TopicTally, advance: Advance | None = None
) -> Iterator[Delivered]:
    """Yield the audit records in a topic.

    Args:
        client: the topic, and how to connect.
        tally: counts the messages.
        advance: reports the progress.

    Raises:
        LogBackendError: the topic cannot be read to its end.
        AuditConfigError: the extra `kafka` is not installed, or a property is invalid.
    """
    troubles: list[str] = []
    reading = _Reading(client, troubles)
    with closing(client.consumer(lambda error: troubles.append(reason_of(error)))) as consumer:
        try:
            yield from reading.records(consumer, tally, advance or (lambda *_: None))
        except library().KafkaException as error:
            consumer.poll(0)  # passes on what the connections report
            raise reading.unanswered(reason_of(error)) from error


class _Reading:
    """One pass over a topic."""

    def __init__(self, client: KafkaClient, troubles: list[str]) -> None:
        self._client = client
        self._troubles = troubles

    def records(
        self, consumer: Consumer, tally: TopicTally, advance: Advance
    ) -> Iterator[Delivered]:
        """Yield the audit records of every partition."""
        bounds = self._bounds(consumer)
        tally.removed = {number: low for number, (low, _) in bounds.items() if low}
        waiting = {number: high for number, (low, high) in bounds.items() if low < high}
        topic, partition = self._client.address.topic, library().TopicPartition
        consumer.assign([partition(topic, number, bounds[number][0]) for number in waiting])
        total = sum(high - low for low, high in bounds.values())
        for messages in self._batches(consumer, waiting):
            for message in messages:
                yield from self._taken(message, waiting, tally)
            advance(len(messages), total)

    def unanswered(self, reason: str) -> LogBackendError:
        """Return the error of a request without an answer: that of a connection, or the reason."""
        return self.failed(self._troubles[-1] if self._troubles else reason)

    def failed(self, reason: str) -> LogBackendError:
        """Return the error for this reason."""
        address, said = self._client.address, self._client.redacted(reason)
        return LogBackendError(
            f"the topic {address.topic} at {address.servers} cannot be read: {said}; nothing was "
            "compared"
        )

    def _bounds(self, consumer: Consumer) -> dict[int, tuple[int, int]]:
        """Return the first offset of each partition, and that after its last."""
        name = self._client.address.topic
        topic = consumer.list_topics(name, _SECONDS).topics[name]
        if topic.error is not None:
            raise self.failed(reason_of(topic.error))
        partition = library().TopicPartition
        return {
            number: consumer.get_watermark_offsets(partition(name, number), timeout=_SECONDS)
            for number in sorted(topic.partitions)
        }

    def _batches(self, consumer: Consumer, waiting: dict[int, int]) -> Iterator[list[Message]]:
        """Yield messages while partitions wait to be read."""
        last = time.monotonic()
        while waiting:
            messages = consumer.consume(_AT_ONCE, timeout=1.0)
            if messages:
                last = time.monotonic()
            elif time.monotonic() - last > _SECONDS:
                raise self.unanswered(f"no message came for {_SECONDS:.0f} s")
            yield messages

    def _taken(
        self, message: Message, waiting: dict[int, int], tally: TopicTally
    ) -> Iterator[Delivered]:
        """Yield the records of a message before the end of its partition; note that end."""
        number, offset, error = message.partition(), message.offset(), message.error()
        if error is not None and not _is_end(error):
            raise self.failed(reason_of(error))
        if number is None or offset is None or number not in waiting:
            return
        if error is None and offset < waiting[number]:
            yield from _records(message, tally)
        if error is not None or offset >= waiting[number] - 1:
            del waiting[number]


def _is_end(error: KafkaError) -> bool:
    return bool(error.code() == library().KafkaError._PARTITION_EOF)  # noqa: SLF001 (its public name)


def _records(message: Message, tally: TopicTally) -> Iterator[Delivered]:
    """Yield the audit records in a message, and count it."""
    tally.messages += 1
    entries = _entries(message.value())
    records = list(filter(None, map(delivered_of, entries)))
    if not records and not any(one.event_name == semconv.EVENT_CHECKPOINT for one in entries):
        tally.foreign += 1
    yield from records


def _entries(value: str | bytes | None) -> list[LogEntry]:
    """Return the log records of a message in either format; none of any other message."""
    data = value.encode() if isinstance(value, str) else value or b""
    try:
        is_json = data.lstrip()[:1] == b"{"
        found = logs_of_json(json.loads(data)) if is_json else logs_of_protobuf(data)
    except (MalformedError, ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, LogEntry)]
