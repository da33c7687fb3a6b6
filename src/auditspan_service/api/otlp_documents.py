"""Documents of `POST /v1/logs` in JSON, as models for its description; protobuf has the same."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from auditspan_service.api.documents import Document

_TRACE, _SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Otlp(Document):
    """Document whose members are in camel case; unknown ones are permitted."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")


class OtlpScopeLogs(Otlp):
    """Log records of one instrumentation scope.

    One that is not OTLP is refused for itself, with all others recorded.
    """

    log_records: list[dict[str, Any]] | None = None


class OtlpResourceLogs(Otlp):
    """Log records of one resource."""

    scope_logs: list[OtlpScopeLogs] | None = None


class OtlpLogs(Otlp):
    """Log records with audit attributes (`ExportLogsServiceRequest`)."""

    resource_logs: list[OtlpResourceLogs] | None = None

    EXAMPLE: ClassVar[Any] = {
        "resourceLogs": [
            {
                "scopeLogs": [
                    {
                        "logRecords": [
                            {
                                "timeUnixNano": "1769860800000000000",
                                "traceId": _TRACE,
                                "spanId": _SPAN,
                                "attributes": [
                                    {"key": name, "value": {"stringValue": value}}
                                    for name, value in {
                                        "audit.action": "invoice.sent",
                                        "audit.actor.type": "user",
                                        "audit.actor.id": "42",
                                        "audit.target.type": "invoice",
                                        "audit.target.id": "7",
                                        "log.record.uid": "01890a5d-ac96-774b-bcce-b302099a8057",
                                    }.items()
                                ],
                            }
                        ]
                    }
                ]
            }
        ]
    }


class OtlpPartialSuccess(Otlp):
    """Number of refused records, and the reasons."""

    rejected_log_records: str | None = None
    error_message: str | None = None


class OtlpAnswer(Otlp):
    """Answer (`ExportLogsServiceResponse`); `partialSuccess` is there if records were refused."""

    partial_success: OtlpPartialSuccess | None = None

    EXAMPLE: ClassVar[Any] = {
        "partialSuccess": {
            "rejectedLogRecords": "1",
            "errorMessage": "Not recorded: the record at index 1: a log record needs an action",
        }
    }


class OtlpStatus(Document):
    """Error (`google.rpc.Status`)."""

    message: str

    EXAMPLE: ClassVar[Any] = {"message": "The body is not an OTLP request."}
