"""Kafka messages of log records: one record in each, keyed by its target."""

from __future__ import annotations

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
    event_id = attributes.get(semconv.RECORD_ID)
    target, number = (attributes.get(name) for name in (semconv.TARGET_TYPE, semconv.TARGET_ID))
    key = f"{target}/{number}" if target else event_id or attributes.get(semconv.TRAIL_NAME)
    headers: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPES[form])]
    if event_id:
        headers.append((semconv.RECORD_ID, _bytes(str(event_id))))
    value = encode([record]) if form == "protobuf" else encode_json([record]).strip().encode()
    return KafkaMessage(key=_bytes(str(key)), value=value, headers=headers)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
