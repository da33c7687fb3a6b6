"""Acknowledgements: which answers of a receiver count as delivered."""

from __future__ import annotations

from typing import Literal, TypeAlias

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)

from auditspan.delivery.answers import MAX_BYTES, Answer

PROTOBUF = "application/x-protobuf"
_OK = 200

Acknowledgement: TypeAlias = Literal["strict", "http"]
"""The answers that acknowledge a batch.

`strict`: only HTTP 200 with a body that parses as `ExportLogsServiceResponse`, as the OTLP
specification requires and every collector answers. `http`: any 2xx, for a log backend that is not a
collector. It proves less: a proxy or a web page that answers 200 acknowledges everything.
In both modes an answer that says that records were rejected is a rejection.
"""


def is_success(answer: Answer) -> bool:
    """Return True if the status is 2xx."""
    return answer.status // 100 == 2  # noqa: PLR2004


def invalidity(answer: Answer, mode: Acknowledgement) -> str | None:
    """Return why a 2xx answer acknowledges nothing in this mode; None if it acknowledges."""
    if mode == "http":
        return None
    if answer.status != _OK:
        return f"HTTP {answer.status}"
    media_type = _media_type(answer)
    if media_type != PROTOBUF:
        return f"HTTP 200 with {media_type or 'no content type'}"
    if not answer.is_whole:
        return f"HTTP 200 with a body that is not decompressible, or over {MAX_BYTES} bytes"
    return None if _response(answer) else "HTTP 200 with a body that does not parse"


def rejection(answer: Answer) -> ExportLogsPartialSuccess | None:
    """Return what a 2xx answer says about rejected records; None if it rejects none."""
    response = _response(answer)
    partial = response.partial_success if response else None
    return partial if partial and partial.rejected_log_records else None


def _response(answer: Answer) -> ExportLogsServiceResponse | None:
    """Return the parsed body, protobuf or JSON by its content type; None for any other."""
    try:
        match _media_type(answer):
            case "application/x-protobuf":
                return ExportLogsServiceResponse.FromString(answer.data)
            case "application/json":
                return Parse(answer.data, ExportLogsServiceResponse(), ignore_unknown_fields=True)
    except (DecodeError, ParseError, ValueError, RecursionError):
        pass
    return None


def _media_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
