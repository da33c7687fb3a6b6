"""Audit records read back from log backends and Kafka topics."""

from __future__ import annotations

from auditspan.verify.backends.backend import oldest_moment, read_backend
from auditspan.verify.backends.delivered import Delivered, delivered_of
from auditspan.verify.backends.kafka import TopicTally, read_kafka

__all__ = [
    "Delivered",
    "TopicTally",
    "delivered_of",
    "oldest_moment",
    "read_backend",
    "read_kafka",
]
