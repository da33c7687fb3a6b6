"""Export requests of log records, encoded as protobuf or as a line of OTLP JSON.

Records are encoded one by one when they are built, and an `ExportLogsServiceRequest` is put
together from their bytes: a message of all records would be copied, and takes twice as long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope

from auditspan.delivery.log_record import ExportRecord
from auditspan.delivery.wire import delimited, header
from auditspan.telemetry import semconv
from auditspan.telemetry.scope import SCHEMA_URL, SCOPE_VERSION

_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"
"""The tags of the fields 1, 2 and 3, of a length-delimited type."""


def encode(records: Sequence[ExportRecord]) -> bytes:
    """Encode an export request with these records, by resource and then in their order."""
    groups: dict[bytes, list[bytes]] = {}
    for resource, log in records:
        logs = groups.setdefault(resource, [_SCOPE])
        logs += (header(_SECOND, len(log)), log)
    return b"".join(part for resource, logs in groups.items() for part in _group(resource, logs))


def _group(resource: bytes, logs: list[bytes]) -> Iterator[bytes]:
    """Yield the parts of a `ResourceLogs`: they are joined once, as a copy of each takes time."""
    logs.append(_SCHEMA)
    size = sum(map(len, logs))
    before = delimited(_FIRST, resource) + header(_SECOND, size)
    yield header(_FIRST, len(before) + size)
    yield before
    yield from logs


def encode_json(records: Sequence[ExportRecord]) -> str:
    """Encode an export request as the collector's file exporter does: one line, ids in hex."""
    request = ExportLogsServiceRequest.FromString(encode(records))
    document = MessageToDict(request, use_integers_for_enums=True)
    for group, shown in zip(request.resource_logs, document.get("resourceLogs", ()), strict=True):
        for log, fields in zip(
            group.scope_logs[0].log_records, shown["scopeLogs"][0]["logRecords"], strict=True
        ):
            if log.trace_id:
                fields["traceId"], fields["spanId"] = log.trace_id.hex(), log.span_id.hex()
    return json.dumps(document, separators=(",", ":")) + "\n"


_SCOPE = delimited(
    _FIRST, InstrumentationScope(name=semconv.SCOPE, version=SCOPE_VERSION).SerializeToString()
)
_SCHEMA = delimited(_THIRD, SCHEMA_URL.encode())
