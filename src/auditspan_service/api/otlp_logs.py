"""`POST /v1/logs`: recording of events that are sent as OTLP log records.

Answers are those of the OTLP specification: `ExportLogsServiceResponse`, with a partial success
where records were refused, and `google.rpc.Status` for errors, in the media type of the request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from flask import Blueprint, Response, request
from google.rpc.status_pb2 import Status

from auditspan import IngestError, audit_context
from auditspan.telemetry.otlp import (
    JSON,
    PROTOBUF,
    LogOrError,
    MalformedError,
    logs_answer,
    logs_of_json,
    logs_of_protobuf,
)
from auditspan.trail.ingest import Receipt
from auditspan_service.accounts.scopes import ON_BEHALF_OF
from auditspan_service.api.auth import actor, caller, requires, tenant
from auditspan_service.api.body import require_media_type, strict_json, unpacked_body
from auditspan_service.api.current import services
from auditspan_service.api.problems import MEDIA_TYPE, Problem

otlp_logs = Blueprint("otlp_logs", __name__, url_prefix="/v1/logs")

_UNPACKED = 8
_LISTED = 5
"""The refused records that an answer explains."""


@otlp_logs.post("")
@requires("audit:write")
def export() -> Response:
    """Record the events of OTLP log records with audit attributes, each for itself."""
    require_media_type(JSON, PROTOBUF)
    logs = _logs(unpacked_body(factor=_UNPACKED))
    with audit_context(tenant=tenant()):
        outcomes = services().trail.ingest_logs(
            logs, producer=actor(), on_behalf_of=caller().allows(ON_BEHALF_OF)
        )
    refused = [one for one in outcomes if isinstance(one, IngestError)]
    answer = logs_answer(request.mimetype, rejected=len(refused), message=_message(outcomes))
    return Response(answer, content_type=request.mimetype)


@otlp_logs.after_request
def _as_status(response: Response) -> Response:
    """Replace a problem document with the `Status` that the OTLP specification requires."""
    if response.mimetype != MEDIA_TYPE or request.mimetype not in {JSON, PROTOBUF}:
        return response
    detail = json.loads(response.get_data())["detail"]
    is_json = request.mimetype == JSON
    body = json.dumps({"message": detail}).encode() if is_json else _status(detail)
    response.set_data(body)
    response.content_type = request.mimetype
    return response


def _status(detail: str) -> bytes:
    encoded: bytes = Status(message=detail).SerializeToString()
    return encoded


def _logs(data: bytes) -> list[LogOrError]:
    try:
        if request.mimetype == JSON:
            return logs_of_json(strict_json(data))
        return logs_of_protobuf(data)
    except MalformedError as error:
        detail = f"The body is not an OTLP request: {error}."
        raise Problem.of("malformed-body", detail) from None


def _message(outcomes: Sequence[Receipt | IngestError]) -> str:
    """Return why records were refused; the first ones only."""
    refused = [
        f"the record at index {index}: {one.message}"
        for index, one in enumerate(outcomes)
        if isinstance(one, IngestError)
    ]
    more = f"; and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
    return f"Not recorded: {'; '.join(refused[:_LISTED])}{more}" if refused else ""
