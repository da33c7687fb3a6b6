"""The Kafka topic that `auditspan reconcile --kafka` reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from auditspan.cli.commands.progress import progress_bar
from auditspan.delivery.kafka import KafkaClient
from auditspan.trail.settings import TrailSettings, destinations, kafka_client
from auditspan.verify.backends import Delivered, TopicTally, read_kafka

CONFIGURED = "-"
"""The value of the option without a URL."""


@dataclass(kw_only=True)
class Topic:
    """Topic to compare with.

    Attributes:
        client: the topic, and how to connect.
        sink: the name of its sink; None if it is not in the settings.
        tally: counts of its messages, once it was read.
    """

    client: KafkaClient
    sink: str | None = None
    tally: TopicTally = field(default_factory=TopicTally)

    def records(self) -> Iterator[Delivered]:
        """Yield its audit records, with a progress bar of messages."""
        with progress_bar("messages") as advance:
            yield from read_kafka(self.client, self.tally, advance)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of what was counted."""
        return {"topic": {"name": self.client.address.topic, **asdict(self.tally)}}

    def lines(self) -> Iterator[str]:
        """Yield what was counted."""
        tally = self.tally
        yield f"{tally.messages} messages, {tally.foreign} of them not of an audit trail"
        for number, offset in tally.removed.items():
            yield (
                f"removed  partition {number} begins at offset {offset}: the broker removed the "
                "messages before it (retention, or DeleteRecords)"
            )


def chosen_topic(settings: TrailSettings, url: str) -> Topic:
    """Return the topic at this URL, or the first one of the settings.

    Raises:
        AuditConfigError: the URL or the file of its properties is invalid.
    """
    known = {name: one for name, one in destinations(settings).items() if one.is_kafka}
    if url == CONFIGURED and not known:
        raise click.UsageError(
            "--kafka: no kafka:// destination is set in AUDITSPAN_AUDIT_ENDPOINT or "
            "AUDITSPAN_MORE_SINKS; give its URL."
        )
    for name, one in known.items():
        if url in {CONFIGURED, one.endpoint}:
            return Topic(client=kafka_client(one.endpoint, one.properties), sink=name)
    return Topic(client=kafka_client(url, settings.kafka_properties))
