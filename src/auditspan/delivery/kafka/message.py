"""Kafka messages of log records: one record in each, keyed by its target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from auditspan.delivery.encoding import encode, encode_json
from auditspan.delivery.kafka.address import MessageFormat
from auditspan.delivery.log_record import ExportRecord
from auditspan.telemetry import semconv

CONTENT_TYPES: dict[MessageFormat, str] = {
    "protobuf": "application/x-protobuf",
    "json": "application/json",
}


class KafkaMessage(NamedTuple):
    """Message of one record.

    Attributes:
        key: the target, so that all events of one target are in one partition, in order; without a
            target the event id. A checkpoint has the trail's name.
        value: an `ExportLogsServiceRequest` with this record.
        headers: the media type, and the event id.
    """

    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


def message_of(record: ExportRecord, form: MessageFormat) -> KafkaMessage:
    """Return the message of a record."""
    attributes = record.attributes
    headers: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPES[form])]
    if event_id := attributes.get(semconv.RECORD_ID):
        headers.append((semconv.RECORD_ID, _bytes(str(event_id))))
    value = encode([record]) if form == "protobuf" else encode_json([record]).strip().encode()
    return KafkaMessage(key=_key(attributes), value=value, headers=headers)


def _key(attributes: Mapping[str, str | int]) -> bytes:
    if target := attributes.get(semconv.TARGET_TYPE):
        return _bytes(f"{target}/{attributes.get(semconv.TARGET_ID, '')}")
    return _bytes(str(attributes.get(semconv.RECORD_ID) or attributes.get(semconv.TRAIL_NAME)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
