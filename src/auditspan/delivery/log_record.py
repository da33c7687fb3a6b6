"""OpenTelemetry log records of sealed rows and signed checkpoints.

The protobuf messages are filled directly. The SDK's logger would silently truncate attributes at
its limits, and its record and encoder take four times as long.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import (
    SEVERITY_NUMBER_INFO,
    SEVERITY_NUMBER_WARN,
    LogRecord,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from auditspan.format import SealedRow, SignedCheckpoint
from auditspan.telemetry import semconv
from auditspan.tlog import key_ids, log_name

_decode = json.JSONDecoder().raw_decode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ExportRecord(NamedTuple):
    """Log record with its resource, both encoded as OpenTelemetry's protobuf messages.

    Attributes:
        resource: the `Resource` of the program that wrote the row.
        log: the `LogRecord`.
    """

    resource: bytes
    log: bytes

    @property
    def message(self) -> LogRecord:
        """The decoded log record."""
        return LogRecord.FromString(self.log)

    @property
    def attributes(self) -> dict[str, str | int]:
        """The attributes of the log record."""
        return {one.key: _value(one.value) for one in self.message.attributes}


def log_record(row: SealedRow) -> ExportRecord:
    """Return the log record of a row: the exact body, with trace id and span id of the request.

    Raises:
        one of `delivery.batch.UNFIT`: the row was tampered with and has no valid log record.
    """
    body, end = _decode(row.body)  # `json.loads` also skips white space, and takes a fourth longer
    if end != len(row.body):
        raise ValueError("text after the body")
    log = _message(
        semconv.EVENT_PREFIX + body["action"],
        row.body,
        datetime.fromisoformat(body["occurred_at"]),
        row.recorded_at or _EPOCH,
        _attributes(row, body),
    )
    if body["outcome"] == "failure":
        log.severity_number, log.severity_text = SEVERITY_NUMBER_WARN, "WARN"
    if body["trace_id"] is not None and body["span_id"] is not None:
        log.trace_id = _identifier(body["trace_id"], 16)
        log.span_id = _identifier(body["span_id"], 8)
    service = body["service"]
    others = tuple(service.get("attributes", {}).items())
    resource = _resource(service["name"], service["version"], service["instance"], others)
    return ExportRecord(resource, log.SerializeToString())


def checkpoint_record(
    checkpoint: SignedCheckpoint, *, observed: datetime | None = None
) -> ExportRecord:
    """Return the log record of a checkpoint: the exact signed note, without a trace.

    Args:
        checkpoint: the checkpoint.
        observed: the time at which it is repeated as a heartbeat; by default, its creation time.

    Raises:
        NoteError: the note is malformed.
    """
    log = _message(
        semconv.EVENT_CHECKPOINT,
        checkpoint.note,
        checkpoint.created_at,
        observed or checkpoint.created_at,
        _checkpoint_attributes(checkpoint),
    )
    return ExportRecord(_resource(semconv.SCOPE, None, None), log.SerializeToString())


def _checkpoint_attributes(checkpoint: SignedCheckpoint) -> dict[str, str | int | None]:
    return {
        semconv.TREE_SIZE: checkpoint.size,
        semconv.TREE_ROOT: checkpoint.root.hex(),
        semconv.KEY_ID: key_ids(checkpoint.note)[0],
        semconv.TRAIL_NAME: log_name(checkpoint.note),
    }


def unix_nanos(moment: datetime) -> int:
    """Return nanoseconds since 1970, exact to the microsecond."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def _attributes(row: SealedRow, body: dict[str, Any]) -> dict[str, str | int | None]:
    actor, target, request = body["actor"], body["target"] or {}, body["request"] or {}
    return {
        semconv.LOG_RECORD_UID: row.event_id,
        semconv.RECORD_ID: row.event_id,
        semconv.ACTOR_TYPE: actor["type"],
        semconv.ACTOR_ID: actor["id"],
        semconv.ACTION: body["action"],
        semconv.VERB: body["action"].rpartition(".")[2].upper(),
        semconv.OUTCOME: body["outcome"],
        semconv.TARGET_TYPE: target.get("type"),
        semconv.TARGET_ID: target.get("id"),
        semconv.SEQUENCE_NUMBER: row.seq,
        semconv.ROW_ID: row.row_id,
        semconv.SCHEMA_VERSION: str(body["v"]),
        semconv.CLIENT_ADDRESS: request.get("client_address"),
        semconv.USER_AGENT_ORIGINAL: request.get("user_agent"),
        semconv.HTTP_REQUEST_METHOD: request.get("method"),
        semconv.HTTP_ROUTE: request.get("route"),
        semconv.INTEGRITY_VALUE: row.mac,
        semconv.TRAIL_NAME: row.trail,
    }


def _message(
    name: str,
    body: str,
    occurred: datetime,
    observed: datetime,
    attributes: Mapping[str, str | int | None],
) -> LogRecord:
    """Fill a message field by field: keyword arguments take twice as long (measured)."""
    log = LogRecord()
    log.time_unix_nano, log.observed_time_unix_nano = unix_nanos(occurred), unix_nanos(observed)
    log.severity_number, log.severity_text = SEVERITY_NUMBER_INFO, "INFO"
    log.body.string_value = body
    log.event_name = name
    _add(log, attributes)
    return log


def _add(owner: LogRecord | Resource, attributes: Mapping[str, str | int | None]) -> None:
    """Add the attributes that have a value."""
    add = owner.attributes.add
    for key, value in attributes.items():
        if value is None:
            continue
        pair = add()
        pair.key = key
        if isinstance(value, str):
            pair.value.string_value = value
        else:
            pair.value.int_value = value


def _identifier(text: str, size: int) -> bytes:
    """Return a trace or span id; nothing for the invalid one, which is all zeros."""
    number = int(text, 16)
    return number.to_bytes(size, "big") if number else b""


def _value(value: AnyValue) -> str | int:
    return value.int_value if value.HasField("int_value") else value.string_value


@lru_cache(maxsize=64)
def _resource(
    name: str,
    version: str | None,
    instance: str | None,
    others: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """Return the encoded resource of a service; the same few services write all records."""
    attributes = {
        semconv.SERVICE_NAME: name,
        semconv.SERVICE_VERSION: version,
        semconv.SERVICE_INSTANCE_ID: instance,
        **dict(others),
    }
    resource = Resource()
    _add(resource, attributes)
    return resource.SerializeToString()
