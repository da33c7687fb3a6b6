"""A producer that delivers batches until the first failure.

The order of each partition rests on two properties. The broker stores what one producer sends
without gaps: `enable.idempotence`, and `enable.gapless.guarantee`, which stops the producer when a
message fails. And after a failure this producer is discarded with all its waiting messages, so it
sends nothing more, and the next attempt begins with the first message of the batch. So the first
copies of a partition's messages are in order, whatever fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from auditspan.delivery.kafka.client import KafkaClient, library, reason_of
from auditspan.delivery.kafka.message import KafkaMessage
from auditspan.errors import SinkRejectedError, SinkUnavailableError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

_POLL = 0.2
_ASKING = 5.0
"""Seconds in which the state of a topic is asked for, to explain a failure."""

_REFUSED = ("MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "POLICY_VIOLATION", "RECORD_LIST_TOO_LARGE")
"""Names of the errors that concern the records themselves; all others concern the broker."""

_REMEDIES = {
    "_AUTHENTICATION": "check sasl.mechanism, sasl.username and sasl.password",
    "_SSL": "check security.protocol and ssl.ca.location",
}
"""What to do about connections that a broker or this client refuses, by the name of the error."""


class BatchProducer:
    """Producer of batches for one topic; after an error it MUST be discarded.

    Args:
        client: the topic, and how to connect.
        timeout: seconds for one batch.

    Raises:
        AuditConfigError: the client library is not installed, or a property is invalid.
    """

    def __init__(self, client: KafkaClient, timeout: float) -> None:
        self._client = client
        self._topic = client.address.topic
        self._timeout = timeout
        self._trouble: str | None = None
        self._refusal: str | None = None
        self._is_down = False
        self._acknowledged = 0
        self._failures: list[KafkaError] = []
        self._stopped: KafkaError | None = None
        self._producer = client.producer(self._note)

    def require_topic(self) -> None:
        """Check that a broker answers, and that the topic exists.

        Raises:
            SinkUnavailableError: no broker answers, or the topic does not exist.
        """
        topic = self._metadata()
        if topic.error is not None and topic.error.name() == "UNKNOWN_TOPIC_OR_PART":
            raise self._unavailable(
                f"has no topic {self._topic}, or does not show it to this user: create it with "
                "three replicas and min.insync.replicas=2"
            )
        if topic.error is not None:
            raise self._unavailable(f"cannot use the topic {self._topic}: {reason_of(topic.error)}")

    def deliver(self, messages: Sequence[KafkaMessage]) -> None:
        """Send a batch, and wait until the broker has acknowledged every message.

        Raises:
            SinkUnavailableError: a message was not acknowledged in time, or failed.
            SinkRejectedError: the broker refuses a message.
        """
        self._acknowledged, self._is_down = 0, False
        self._failures.clear()
        self._produce(messages)
        self._wait()
        if failures := [*self._failures, *filter(None, [self._stopped])]:
            raise self._failure(failures)
        if self._acknowledged < len(messages):
            if self._is_down:
                raise self._unreachable("no broker answers")
            waiting = len(messages) - self._acknowledged
            raise self._unavailable(
                f"did not acknowledge {waiting} of {len(messages)} messages within "
                f"{self._timeout:g} s{self._state()}"
            )

    def discard(self) -> None:
        """Drop every message that waits or is in flight; nothing is sent any more."""
        self._producer.purge()
        self._serve(0)

    def _produce(self, messages: Iterable[KafkaMessage]) -> None:
        for one in messages:
            try:
                self._producer.produce(
                    self._topic,
                    key=one.key,
                    value=one.value,
                    headers=one.headers,
                    on_delivery=self._report,
                )
            except library().KafkaException as error:  # too large, or the producer has stopped
                self._stopped = error.args[0]
                return

    def _wait(self) -> None:
        deadline = time.monotonic() + self._timeout
        while self._serve(_POLL) and not (self._failures or self._stopped or self._is_down):
            if time.monotonic() > deadline:
                return

    def _serve(self, seconds: float) -> int:
        """Wait for reports; return the number of messages that still have none."""
        try:
            return self._producer.flush(seconds)
        except library().KafkaException as error:
            # The producer has stopped, since a message failed. Its report, which says why, follows.
            self._stopped = error.args[0]
            with suppress(library().KafkaException):
                self._producer.flush(seconds)
            return 1

    def _report(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._acknowledged += 1
        else:
            self._failures.append(error)

    def _note(self, error: KafkaError) -> None:
        """Note an error of the connections; the last one is the reason in messages.

        A refused login or certificate stays the reason: what follows from it says less.
        """
        remedy = _REMEDIES.get(error.name())
        if error.name() in {"_ALL_BROKERS_DOWN", "_AUTHENTICATION"}:
            self._is_down = True
        if remedy:
            self._refusal = f"{reason_of(error)}; {remedy} in the Kafka properties"
        elif error.name() != "_ALL_BROKERS_DOWN":
            self._trouble = reason_of(error)

    def _failure(self, errors: Sequence[KafkaError]) -> SinkRejectedError | SinkUnavailableError:
        refusing = next((one for one in errors if one.name() in _REFUSED), None)
        if refusing is not None:
            return SinkRejectedError(
                f"the topic {self._topic} refuses a message: {reason_of(refusing)}"
            )
        return self._unavailable(f"did not take a message: {reason_of(errors[0])}{self._state()}")

    def _unreachable(self, reason: str) -> SinkUnavailableError:
        why = self._refusal or self._trouble or f"{reason}{self._protocol_hint()}"
        return self._unavailable(f"cannot be reached: {why}")

    def _protocol_hint(self) -> str:
        """Return what to do if the broker expects TLS: it closes other connections silently."""
        protocol = self._client.properties.get("security.protocol", "plaintext").upper()
        if protocol.endswith("SSL"):
            return ""
        return (
            f"; security.protocol is {protocol}: if the brokers require TLS, set it to SSL or "
            "SASL_SSL in the Kafka properties (AUDITSPAN_KAFKA_PROPERTIES)"
        )

    def _unavailable(self, what: str) -> SinkUnavailableError:
        said = self._client.redacted(what)
        return SinkUnavailableError(f"Kafka at {self._client.address.servers} {said}")

    def _metadata(self) -> Any:  # noqa: ANN401 (the library does not export the type)
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                found = self._producer.list_topics(self._topic, min(2.0, self._timeout))
                return found.topics[self._topic]
            except library().KafkaException as error:
                self._serve(0)
                if self._is_down or time.monotonic() > deadline:
                    raise self._unreachable(reason_of(error)) from error

    def _state(self) -> str:
        """Return what is wrong with the topic or the connections, in parentheses.

        Asks on a connection of its own: a broker answers nothing on one where a batch waits.
        """
        trouble = f" ({self._trouble})" if self._trouble else ""
        try:
            asked = self._client.admin().list_topics(self._topic, _ASKING)
            topic = asked.topics[self._topic]
        except (library().KafkaException, KeyError):
            return trouble
        lacking = list(_lacking(topic.partitions.values()))
        return f" ({', '.join(lacking[:3])})" if lacking else trouble


def _lacking(partitions: Iterable[Any]) -> Iterator[str]:
    """Yield the partitions that have no leader, or lack replicas."""
    for one in partitions:
        number, replicas, in_sync = one.id, len(one.replicas), len(one.isrs)
        if one.leader < 0:
            yield f"partition {number} has no leader"
        elif in_sync < replicas:
            yield f"partition {number} has {in_sync} of {replicas} replicas in sync"
