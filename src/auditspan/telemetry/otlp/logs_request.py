"""Log records of an OTLP request (`ExportLogsServiceRequest`), and the answer to it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from auditspan.telemetry.otlp.decode import LOGS, Attributes, LogEntry, MalformedError, Value

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
"""The media types of OTLP over HTTP."""

LogOrError = LogEntry | MalformedError
"""A log record, or the error in place of one that is not OTLP."""


def logs_of_json(document: object) -> list[LogOrError]:
    """Return the log records of a request in JSON, in order.

    Raises:
        MalformedError: the structure around the records is not OTLP.
    """
    return list(LOGS.read(document))


def logs_of_protobuf(data: bytes) -> list[LogOrError]:
    """Return the log records of a request in protobuf, in order; it needs the extra `worker`.

    Raises:
        MalformedError: the bytes are not such a request.
    """
    # Not at the top: an application without the extra reads the collector's files with this folder.
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # noqa: PLC0415
        ExportLogsServiceRequest,
    )

    try:
        request = ExportLogsServiceRequest.FromString(data)
    except DecodeError:
        raise MalformedError("the body is not an ExportLogsServiceRequest") from None
    return [
        _entry(record, _attributes(group.resource.attributes), scoped.scope.name)
        for group in request.resource_logs
        for scoped in group.scope_logs
        for record in scoped.log_records
    ]


def logs_answer(media_type: str, *, rejected: int = 0, message: str = "") -> bytes:
    """Return the answer to a request (`ExportLogsServiceResponse`).

    Args:
        media_type: `JSON` or `PROTOBUF`, as the request had it.
        rejected: the number of records that were not recorded, and are not to be sent again.
        message: the reason, in words.
    """
    if media_type == JSON:
        partial = {"rejectedLogRecords": str(rejected), "errorMessage": message}
        return json.dumps({"partialSuccess": partial} if rejected else {}).encode()
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # noqa: PLC0415 (as above)
        ExportLogsPartialSuccess,
        ExportLogsServiceResponse,
    )

    partial_success = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    answer = ExportLogsServiceResponse(partial_success=partial_success if rejected else None)
    encoded: bytes = answer.SerializeToString()
    return encoded


def _entry(record: LogRecord, resource: Attributes, scope: str) -> LogOrError:
    try:
        return LogEntry(
            trace_id=_identifier(record.trace_id, 16),
            span_id=_identifier(record.span_id, 8),
            event_name=record.event_name or None,
            body=_value(record.body),
            severity_text=record.severity_text,
            severity_number=record.severity_number,
            time=record.time_unix_nano,
            observed=record.observed_time_unix_nano,
            attributes=_attributes(record.attributes),
            resource=resource,
            scope=scope,
        )
    except MalformedError as error:
        return error


def _identifier(raw: bytes, size: int) -> str | None:
    if raw and len(raw) != size:
        raise MalformedError(f"an id of a trace or a span is not {size} bytes")
    return raw.hex() if any(raw) else None


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case name:
            plain: Value = getattr(value, name)
            return plain
