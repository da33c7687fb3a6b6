"""Kafka topics as destinations of audit log records."""

from __future__ import annotations

from auditspan.delivery.kafka.address import KafkaAddress, is_kafka
from auditspan.delivery.kafka.client import KafkaClient, library, read_properties, reason_of
from auditspan.delivery.kafka.sink import KafkaSink

__all__ = [
    "KafkaAddress",
    "KafkaClient",
    "KafkaSink",
    "is_kafka",
    "library",
    "read_properties",
    "reason_of",
]
