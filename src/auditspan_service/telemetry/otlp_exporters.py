"""Exporters that send one signal to a collector over OTLP, by the protocol of the variables.

Every `OTEL_EXPORTER_OTLP_*` variable keeps its meaning.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeAlias

import requests
import urllib3
from requests.adapters import HTTPAdapter

from auditspan.delivery import proxy_for, read_answer
from auditspan.errors import AuditConfigError
from auditspan.trail.settings import Signal, otel_variables

_PACKAGES = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
    "http/json": "opentelemetry.exporter.otlp.json.http",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
}
_EXTRAS = {"http/json": "http-json", "grpc": "grpc"}
_CLASSES: dict[Signal, tuple[str, str]] = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
}


Exporter: TypeAlias = Any
"""An exporter of OpenTelemetry; that of spans, of logs or of metrics, by the signal."""


def otlp_exporter(signal: Signal, endpoint: str | None = None) -> Exporter:
    """Create the exporter of a signal.

    Args:
        signal: the signal.
        endpoint: the collector's base URL, reached over HTTP; by default that of the variables.

    Raises:
        AuditConfigError: the protocol is unknown, or its exporter is not installed.
    """
    protocol = otel_variables.protocol(signal)
    if endpoint and protocol == "grpc":
        protocol = "http/protobuf"
    exporter = _load(signal, protocol)
    options: dict[str, Any] = {"session": _Session()} if protocol == "http/protobuf" else {}
    if endpoint:
        options["endpoint"] = f"{endpoint.rstrip('/')}/v1/{signal}"
    return exporter(**options)


def _load(signal: Signal, protocol: str) -> type[Exporter]:
    if protocol not in _PACKAGES:
        raise AuditConfigError(
            f"Invalid OTEL_EXPORTER_OTLP_PROTOCOL {protocol!r} for {signal}: expected "
            "http/protobuf, http/json or grpc."
        )
    module, name = _CLASSES[signal]
    try:
        found: type[Exporter] = getattr(import_module(f"{_PACKAGES[protocol]}.{module}"), name)
    except ImportError as error:
        raise AuditConfigError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol} for {signal}, but its exporter is not "
            f"installed: run `pip install 'auditspan[{_EXTRAS.get(protocol, 'service')}]'`, or use "
            "http/protobuf."
        ) from error
    return found


_Verify: TypeAlias = bool | str | None
"""Whether to check certificates, or the file of the CA."""


class _Adapter(HTTPAdapter):
    """Adapter that limits the size of a response as `auditspan.delivery.answers` does."""

    def build_response(
        self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse
    ) -> requests.Response:
        """Build a response whose body has already been read."""
        response = super().build_response(req, resp)
        try:
            content = read_answer(resp).data
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ConnectionError(error, request=req) from error
        response._content, response._content_consumed = content, True  # noqa: SLF001 (no other way)
        return response


class _Session(requests.Session):
    """Session that trusts only the CA of OTEL_EXPORTER_OTLP_CERTIFICATE.

    It chooses a proxy by the rule of `auditspan.delivery.outbound`, like the sender of audit
    records.

    In requests, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE override the session's setting, so that a
    collector with that CA would be refused if one of them is set.
    """

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())

    def merge_environment_settings(
        self,
        url: str,
        proxies: dict[str, str] | None,
        stream: bool | None,  # noqa: FBT001 (as in requests)
        verify: _Verify,
        cert: str | tuple[str, str] | None,
    ) -> dict[str, Any]:
        verified = self.verify if verify is None else verify
        merged = super().merge_environment_settings(url, proxies, stream, verified, cert)
        merged["proxies"] = _proxies(url)
        return merged

    def rebuild_proxies(
        self,
        prepared_request: requests.PreparedRequest,
        proxies: object,  # noqa: ARG002 (its interface)
    ) -> dict[str, str]:
        """Choose the proxy of a redirect by the same rule."""
        return _proxies(prepared_request.url)


def _proxies(url: str | None) -> dict[str, str]:
    proxy = proxy_for(url) if url else None
    return {"http": proxy, "https": proxy} if proxy else {}
