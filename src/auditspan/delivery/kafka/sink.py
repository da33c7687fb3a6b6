"""The sink of a Kafka topic."""

from __future__ import annotations

from collections.abc import Sequence

from auditspan.delivery.kafka.client import KafkaClient
from auditspan.delivery.kafka.message import message_of
from auditspan.delivery.kafka.producer import BatchProducer
from auditspan.delivery.log_record import ExportRecord

TIMEOUT = 10.0


class KafkaSink:
    """Sink that produces one message for each record, keyed by its target.

    A batch is delivered when the brokers have acknowledged every message with `acks=all`. Messages
    of one target are in one partition; their first copies are there in order.

    Args:
        client: the topic, and how to connect.
        name: the unique name under which the relay stores this sink's cursors.
        timeout: seconds for one batch.

    Raises:
        AuditConfigError: the client library is not installed, or a property is invalid.
    """

    acknowledgement = "all"

    def __init__(
        self, client: KafkaClient, *, name: str = "kafka", timeout: float = TIMEOUT
    ) -> None:
        client.check()
        self.name = name
        self._client = client
        self._timeout = timeout
        self._producer: BatchProducer | None = None

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Deliver a batch; see `Sink`. An empty one checks that the topic is available."""
        form = self._client.address.format
        messages = [message_of(record, form) for record in records]
        try:
            producer = self._producer or self._open()
            if messages:
                producer.deliver(messages)
            else:
                producer.require_topic()
        except Exception:  # no message of this batch may be sent later, behind a gap
            self.close()
            raise

    def close(self) -> None:
        """Drop the connections, and what waits to be sent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.discard()

    def _open(self) -> BatchProducer:
        self._producer = BatchProducer(self._client, self._timeout)
        self._producer.require_topic()
        return self._producer
