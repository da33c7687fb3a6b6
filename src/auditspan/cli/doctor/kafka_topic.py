"""Checks that a Kafka topic keeps every delivered record.

An audit record counts as delivered when every replica in sync has it. A topic with too few
replicas, or one that removes records, breaks that; each such problem is one sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from auditspan.delivery import is_loopback
from auditspan.delivery.kafka import KafkaClient, library, reason_of

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_LARGEST = 256 * 1024
"""The bytes that the message of a record may need: a body of 64 KiB, escaped as JSON."""

_ADVICE = "use three replicas with min.insync.replicas=2"


@dataclass(kw_only=True)
class TopicReview:
    """Sentences about a topic.

    Attributes:
        problems: the problems, with their remedies.
        notes: consequences of deliberate settings.
        unchecked: the checks that could not be made.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def review_topic(client: KafkaClient, timeout: float) -> TopicReview:
    """Return what a topic that exists may do to delivered records."""
    name, review = client.address.topic, TopicReview()
    try:
        admin = client.admin()
        partitions = admin.list_topics(name, timeout).topics[name].partitions.values()
        config = _config(admin, name, timeout)
    except (library().KafkaException, KeyError) as error:
        reason = client.redacted(reason_of(error))
        review.unchecked.append(f"The settings of the topic {name} were not checked: {reason}.")
        return review
    review.problems += [*_replicas(name, partitions, config), *_removal(name, config)]
    review.problems += _encryption(client)
    review.notes += _retention(name, config)
    return review


def _config(admin: AdminClient, name: str, timeout: float) -> dict[str, str]:
    admin_module = library().admin
    resource = admin_module.ConfigResource(admin_module.RESOURCE_TOPIC, name)
    [answer] = admin.describe_configs([resource], request_timeout=timeout).values()
    return {key: entry.value or "" for key, entry in answer.result().items()}


def _replicas(name: str, partitions: Collection[Any], config: Mapping[str, str]) -> Iterator[str]:
    replicas = min(len(one.replicas) for one in partitions)
    required = int(config["min.insync.replicas"])
    if replicas == 1:
        yield (
            f"The topic {name} has one replica: when its broker loses its disk, acknowledged "
            f"records are lost; {_ADVICE}."
        )
    elif required == 1:
        yield (
            f"The topic {name} has {replicas} replicas, but min.insync.replicas is 1: a record "
            "counts as delivered when a single broker has it; set it to 2."
        )
    for one in partitions:
        if len(one.isrs) < required:
            yield (
                f"Partition {one.id} of the topic {name} has {len(one.isrs)} replicas in sync, and "
                f"min.insync.replicas is {required}: it takes no records until more are in sync."
            )


def _removal(name: str, config: Mapping[str, str]) -> Iterator[str]:
    if "compact" in config["cleanup.policy"]:
        yield (
            f"The topic {name} is compacted: of each target it keeps the last event only; set "
            "cleanup.policy=delete."
        )
    if config.get("unclean.leader.election.enable") == "true":
        yield (
            f"The topic {name} allows unclean leader elections, which lose acknowledged records; "
            "set unclean.leader.election.enable=false."
        )
    if int(config["max.message.bytes"]) < _LARGEST:
        yield (
            f"The topic {name} takes messages of at most {config['max.message.bytes']} bytes: "
            f"larger records are quarantined; set max.message.bytes to {_LARGEST} or more."
        )


def _retention(name: str, config: Mapping[str, str]) -> Iterator[str]:
    """Yield the limits after which the topic removes records."""
    if "delete" not in config["cleanup.policy"]:
        return
    limits = []
    if (millis := int(config["retention.ms"])) >= 0:
        limits.append(f"after {timedelta(milliseconds=millis)} (retention.ms)")
    if (size := int(config["retention.bytes"])) >= 0:
        limits.append(f"beyond {size} bytes in a partition (retention.bytes)")
    if limits:
        yield (
            f"The topic {name} removes records {' and '.join(limits)}: `auditspan reconcile "
            "--kafka` then reports them as missing. To keep them, set the limits to -1."
        )


def _encryption(client: KafkaClient) -> Iterator[str]:
    protocol = client.properties.get("security.protocol", "plaintext").lower()
    servers = client.address.servers.split(",")
    hosts = [server.rpartition(":")[0].strip("[]") for server in servers]
    if protocol == "sasl_plaintext" and not all(map(is_loopback, hosts)):
        yield (
            "security.protocol is SASL_PLAINTEXT, so passwords are sent unencrypted: use SASL_SSL."
        )
