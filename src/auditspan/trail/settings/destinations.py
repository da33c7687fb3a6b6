"""Destinations of audit records: their names, addresses and credentials."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from auditspan.delivery import Acknowledgement, Compression
from auditspan.delivery.kafka import KafkaAddress, is_kafka
from auditspan.errors import AuditConfigError
from auditspan.telemetry import TraceLink
from auditspan.trail.settings import otel_variables
from auditspan.trail.settings.otel_variables import MAX_TIMEOUT

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_TAKEN = frozenset({"otlp", "file", "console"})
"""The values of AUDITSPAN_SINK."""

_UNFIT = re.compile(r"[\s\x00-\x1f\x7f]")
"""Characters that no URL contains; the HTTP client would refuse them at every request."""

_OF_TOPICS = frozenset({"endpoint", "timeout", "properties"})

_FORM = (
    'expected a JSON object of names and URLs, such as {"archive": "https://host:4319/v1/audit"}'
)


def http_url(text: str) -> str:
    """Return the URL, without spaces around it, if it is a valid HTTP URL without credentials."""
    url = text.strip()
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "it must not contain a user or a password: use a client certificate, or a header such "
            "as Authorization=Basic%20… (AUDITSPAN_AUDIT_HEADERS)"
        )
    is_http = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if not is_http or _UNFIT.search(url):
        raise ValueError("expected a URL such as http://127.0.0.1:4319/v1/audit")
    return url


def receiver_url(text: str) -> str:
    """Return the URL if it is a valid one of a receiver or of a Kafka topic."""
    if is_kafka(text):
        KafkaAddress.parse(text)
        return text
    return http_url(text)


def trace_url(text: str) -> str:
    """Return the template of a link to traces if it is valid."""
    try:
        return TraceLink(text).template
    except AuditConfigError as error:
        raise ValueError(error.message) from error


def absolute(path: Path) -> Path:
    """Return the absolute path, because a server may change its directory later."""
    return path.expanduser().absolute()


TraceUrl = Annotated[str, AfterValidator(trace_url)]
ReceiverUrl = Annotated[str, AfterValidator(receiver_url)]
AbsolutePath = Annotated[Path, AfterValidator(absolute)]


class Destination(BaseModel):
    """Audit receiver of a collector, or a Kafka topic.

    OpenTelemetry's variables apply to what is not given. A topic has an endpoint, a timeout and
    properties only.

    Attributes:
        endpoint: the complete URL.
        certificate: the PEM file of the trusted CA certificates.
        client_certificate: the PEM file of the client certificate.
        client_key: the PEM file of the client certificate's key.
        headers: the headers of every request.
        timeout: the timeout for one request in seconds.
        compression: the compression of request bodies.
        acknowledgement: the answers that count as delivered.
        properties: the file of the Kafka client's properties.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: ReceiverUrl
    certificate: AbsolutePath | None = Field(default_factory=otel_variables.certificate)
    client_certificate: AbsolutePath | None = Field(
        default_factory=otel_variables.client_certificate
    )
    client_key: AbsolutePath | None = Field(
        default_factory=lambda data: otel_variables.client_key(data.get("client_certificate"))
    )
    headers: Mapping[str, str] = Field(default_factory=otel_variables.headers, repr=False)
    timeout: float = Field(default_factory=otel_variables.timeout, gt=0, le=MAX_TIMEOUT)
    compression: Compression = Field(default_factory=otel_variables.compression)
    acknowledgement: Acknowledgement = "strict"
    properties: AbsolutePath | None = None

    @model_validator(mode="after")
    def _require_fitting(self) -> Self:
        """Refuse options that would be ignored."""
        if self.is_kafka and self.model_fields_set - _OF_TOPICS:
            raise ValueError("a kafka:// destination takes endpoint, timeout and properties only")
        if self.properties and not self.is_kafka:
            raise ValueError("`properties` is for kafka:// destinations")
        return self

    @property
    def is_kafka(self) -> bool:
        """True if it is a Kafka topic."""
        return is_kafka(self.endpoint)

    @property
    def mode(self) -> str:
        """The acknowledgement: `all` for a topic, from every replica in sync."""
        return "all" if self.is_kafka else self.acknowledgement


def parse_headers(value: object) -> object:
    """Parse headers from a list such as ``Authorization=Bearer%20x,X-Tenant=a``.

    The format is that of OTEL_EXPORTER_OTLP_HEADERS. Errors do not repeat values.
    """
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not all("=" in part for part in parts):
        raise ValueError("expected a list such as Authorization=Bearer%20x,X-Tenant=a")
    return otel_variables.split_headers(parts)


def parse_destinations(value: object) -> object:
    """Parse destinations by name from the JSON text of a setting; a string is an endpoint."""
    found = _object(value)
    for name in found:
        if name in _TAKEN or not _NAME.fullmatch(name):
            raise ValueError(
                "invalid sink name: expected at most 31 lowercase letters, digits and hyphens, "
                "beginning with a letter, and not otlp, file or console"
            )
    return {
        name: {"endpoint": given} if isinstance(given, str) else given
        for name, given in found.items()
    }


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(_FORM)
    return found


def _object(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_without_duplicates)
        except ValueError:
            raise ValueError(_FORM) from None
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(_FORM)
    return value
