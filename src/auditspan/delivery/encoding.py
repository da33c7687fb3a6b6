"""Export requests of log records, encoded as protobuf or as a line of OTLP JSON.

Records are encoded one by one when they are built, and an `ExportLogsServiceRequest` is put
together from their bytes: a message of all records would be copied, and takes twice as long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope

from auditspan.delivery.log_record import ExportRecord
from auditspan.scope import SCHEMA_URL, SCOPE_VERSION
from auditspan.telemetry import semconv

_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"
"""The tags of the fields 1, 2 and 3, of a length-delimited type."""


def encode(records: Sequence[ExportRecord]) -> bytes:
    """Encode an export request with these records, by resource and then in their order."""
    groups: dict[bytes, list[bytes]] = {}
    for record in records:
        groups.setdefault(record.resource, []).append(record.log)
    return b"".join(
        _field(_FIRST, _field(_FIRST, resource) + _field(_SECOND, _scope_logs(logs)))
        for resource, logs in groups.items()
    )


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


def _scope_logs(logs: Iterable[bytes]) -> bytes:
    return b"".join((_SCOPE, *(_field(_SECOND, log) for log in logs), _SCHEMA))


def _field(tag: bytes, payload: bytes) -> bytes:
    """Encode a length-delimited field: its tag, the length as a varint, the payload."""
    length, varint = len(payload), bytearray()
    while length > 0x7F:  # noqa: PLR2004 (seven bits in each byte)
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return b"".join((tag, varint, payload))


_SCOPE = _field(
    _FIRST, InstrumentationScope(name=semconv.SCOPE, version=SCOPE_VERSION).SerializeToString()
)
_SCHEMA = _field(_THIRD, SCHEMA_URL.encode())
