"""OpenTelemetry log records of sealed rows and signed checkpoints.

They are encoded by hand (`delivery.wire`): filling protobuf's messages takes twice as long. The
SDK's logger would silently truncate attributes at its limits, and its record and encoder take
several times as long.
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

from auditspan.delivery.wire import Attribute, delimited, fixed64, header, varint
from auditspan.format import SealedRow, SignedCheckpoint
from auditspan.telemetry import semconv
from auditspan.tlog import key_ids, log_name

_decode = json.JSONDecoder().raw_decode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOTHING: Mapping[str, Any] = {}


_TIME, _OBSERVED_TIME = b"\x09", b"\x59"
_BODY, _ATTRIBUTES, _EVENT_NAME = b"\x2a", b"\x32", b"\x62"
"""The tags of the fields of `LogRecord`."""

_TRACE_ID, _SPAN_ID = header(b"\x4a", 16), header(b"\x52", 8)


def _severity(number: int, text: str) -> bytes:
    return b"\x10" + varint(number) + delimited(b"\x1a", text.encode())


_INFO = _severity(SEVERITY_NUMBER_INFO, "INFO")
_WARN = _severity(SEVERITY_NUMBER_WARN, "WARN")
_LOG_RECORD_UID = Attribute(semconv.LOG_RECORD_UID, _ATTRIBUTES)
_RECORD_ID = Attribute(semconv.RECORD_ID, _ATTRIBUTES)
_ACTOR_TYPE = Attribute(semconv.ACTOR_TYPE, _ATTRIBUTES)
_ACTOR_ID = Attribute(semconv.ACTOR_ID, _ATTRIBUTES)
_ACTION = Attribute(semconv.ACTION, _ATTRIBUTES)
_VERB = Attribute(semconv.VERB, _ATTRIBUTES)
_OUTCOME = Attribute(semconv.OUTCOME, _ATTRIBUTES)
_TARGET_TYPE = Attribute(semconv.TARGET_TYPE, _ATTRIBUTES)
_TARGET_ID = Attribute(semconv.TARGET_ID, _ATTRIBUTES)
_SEQUENCE_NUMBER = Attribute(semconv.SEQUENCE_NUMBER, _ATTRIBUTES)
_ROW_ID = Attribute(semconv.ROW_ID, _ATTRIBUTES)
_SCHEMA_VERSION = Attribute(semconv.SCHEMA_VERSION, _ATTRIBUTES)
_CLIENT_ADDRESS = Attribute(semconv.CLIENT_ADDRESS, _ATTRIBUTES)
_USER_AGENT = Attribute(semconv.USER_AGENT_ORIGINAL, _ATTRIBUTES)
_HTTP_REQUEST_METHOD = Attribute(semconv.HTTP_REQUEST_METHOD, _ATTRIBUTES)
_HTTP_ROUTE = Attribute(semconv.HTTP_ROUTE, _ATTRIBUTES)
_INTEGRITY_VALUE = Attribute(semconv.INTEGRITY_VALUE, _ATTRIBUTES)
_TRAIL_NAME = Attribute(semconv.TRAIL_NAME, _ATTRIBUTES)
_TREE_SIZE = Attribute(semconv.TREE_SIZE, _ATTRIBUTES)
_TREE_ROOT = Attribute(semconv.TREE_ROOT, _ATTRIBUTES)
_KEY_ID = Attribute(semconv.KEY_ID, _ATTRIBUTES)


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
    log = _log(
        _name(body["action"]),
        row.body,
        datetime.fromisoformat(body["occurred_at"]),
        row.recorded_at or _EPOCH,
        _attributes(row, body),
        severity=_WARN if body["outcome"] == "failure" else _INFO,
        span=_span(body["trace_id"], body["span_id"]),
    )
    service = body["service"]
    others = tuple(service.get("attributes", _NOTHING).items())
    resource = _resource(service["name"], service["version"], service["instance"], others)
    return ExportRecord(resource, log)


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
    attributes = (
        _TREE_SIZE.number(checkpoint.size),
        _TREE_ROOT.text(checkpoint.root.hex()),
        _KEY_ID.text(key_ids(checkpoint.note)[0]),
        _TRAIL_NAME.text(log_name(checkpoint.note)),
    )
    created_at = checkpoint.created_at or _EPOCH
    log = _log(
        delimited(_EVENT_NAME, semconv.EVENT_CHECKPOINT.encode()),
        checkpoint.note,
        created_at,
        observed or created_at,
        b"".join(attributes),
    )
    return ExportRecord(_resource(semconv.SCOPE, None, None), log)


def unix_nanos(moment: datetime) -> int:
    """Return nanoseconds since 1970, exact to the microsecond."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def _log(
    name: bytes,
    body: str,
    occurred: datetime,
    observed: datetime,
    attributes: bytes,
    *,
    severity: bytes = _INFO,
    span: bytes = b"",
) -> bytes:
    """Encode a `LogRecord`, its fields in the order of their numbers."""
    text = body.encode()
    length = header(b"\x0a", len(text))
    return b"".join(
        (
            _time(_TIME, occurred),
            severity,
            header(_BODY, len(length) + len(text)),
            length,
            text,
            attributes,
            span,
            _time(_OBSERVED_TIME, observed),
            name,
        )
    )


def _attributes(row: SealedRow, body: dict[str, Any]) -> bytes:
    """Encode the attributes; what recurs from record to record, only once."""
    actor, target, request = body["actor"], body["target"] or _NOTHING, body["request"] or _NOTHING
    return b"".join(
        (
            _LOG_RECORD_UID.text(row.event_id),
            _RECORD_ID.text(row.event_id),
            _kind(body["action"], body["outcome"], actor["type"], target.get("type")),
            _source(str(body["v"]), row.trail, request.get("method"), request.get("route")),
            _actor(actor["id"], request.get("client_address"), request.get("user_agent")),
            _TARGET_ID.text(target.get("id")),
            _SEQUENCE_NUMBER.number(row.seq),
            _ROW_ID.number(row.row_id),
            _INTEGRITY_VALUE.text(row.mac),
        )
    )


@lru_cache(maxsize=256)
def _kind(action: str, outcome: str, actor_type: str, target_type: str | None) -> bytes:
    verb = action.rpartition(".")[2].upper()
    parts = (
        *(_ACTION.text(action), _VERB.text(verb), _OUTCOME.text(outcome)),
        *(_ACTOR_TYPE.text(actor_type), _TARGET_TYPE.text(target_type)),
    )
    return b"".join(parts)


@lru_cache(maxsize=256)
def _source(version: str, trail: str | None, method: str | None, route: str | None) -> bytes:
    parts = (
        *(_SCHEMA_VERSION.text(version), _TRAIL_NAME.text(trail)),
        *(_HTTP_REQUEST_METHOD.text(method), _HTTP_ROUTE.text(route)),
    )
    return b"".join(parts)


@lru_cache(maxsize=256)
def _actor(actor_id: str | None, address: str | None, agent: str | None) -> bytes:
    return b"".join(
        (_ACTOR_ID.text(actor_id), _CLIENT_ADDRESS.text(address), _USER_AGENT.text(agent))
    )


@lru_cache(maxsize=256)
def _name(action: str) -> bytes:
    return delimited(_EVENT_NAME, f"{semconv.EVENT_PREFIX}{action}".encode())


def _time(tag: bytes, moment: datetime) -> bytes:
    """Encode a timestamp; nothing for 1970 itself, which is the default."""
    nanos = unix_nanos(moment)
    return tag + fixed64(nanos) if nanos else b""


def _span(trace_id: str | None, span_id: str | None) -> bytes:
    """Encode the ids of a request; nothing for invalid ones, which are all zeros."""
    if trace_id is None or span_id is None:
        return b""
    return _identifier(_TRACE_ID, trace_id) + _identifier(_SPAN_ID, span_id)


def _identifier(prefix: bytes, text: str) -> bytes:
    size = prefix[-1]
    number = int(text, 16)
    return prefix + number.to_bytes(size, "big") if number else b""


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
    return b"".join(Attribute(key, b"\x0a").text(text) for key, text in attributes.items())
