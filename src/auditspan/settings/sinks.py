"""The sinks of the settings."""

from __future__ import annotations

from auditspan.delivery import ConsoleSink, FileSink, OtlpSink, Sink, TlsFiles
from auditspan.settings.destinations import Destination
from auditspan.settings.settings import TrailSettings


def make_sinks(settings: TrailSettings) -> tuple[Sink, ...]:
    """Create the sink of `AUDITSPAN_SINK`, and one for each of `AUDITSPAN_MORE_SINKS`."""
    return tuple(make_sink(settings, name) for name in (settings.sink, *settings.more_sinks))


def make_sink(settings: TrailSettings, name: str) -> Sink:
    """Create the sink with this name.

    Raises:
        KeyError: it is neither that of `AUDITSPAN_SINK` nor one of `AUDITSPAN_MORE_SINKS`.
    """
    if name != settings.sink:
        return otlp_sink(settings.more_sinks[name], name=name)
    match settings.sink:
        case "otlp":
            return otlp_sink(audit_destination(settings), name="otlp")
        case "file":
            return FileSink(settings.collector_files)
        case "console":
            return ConsoleSink()


def audit_destination(settings: TrailSettings) -> Destination:
    """Return the collector that the sink `otlp` delivers to."""
    return Destination(
        endpoint=settings.audit_endpoint,
        certificate=settings.audit_certificate,
        client_certificate=settings.audit_client_certificate,
        client_key=settings.audit_client_key,
        headers=settings.audit_headers,
        timeout=settings.audit_timeout,
        compression=settings.audit_compression,
        acknowledgement=settings.audit_acknowledgement,
    )


def destinations(settings: TrailSettings) -> dict[str, Destination]:
    """Return the receivers that records are delivered to, by the name of their sink."""
    first = {"otlp": audit_destination(settings)} if settings.sink == "otlp" else {}
    return {**first, **settings.more_sinks}


def otlp_sink(
    destination: Destination, *, name: str = "otlp", timeout: float | None = None
) -> OtlpSink:
    """Create a sink for this destination; `timeout` overrides the destination's own."""
    return OtlpSink(
        destination.endpoint,
        name=name,
        timeout=timeout or destination.timeout,
        tls=tls_files(destination),
        headers=destination.headers,
        compression=destination.compression,
        acknowledgement=destination.acknowledgement,
    )


def tls_files(destination: Destination) -> TlsFiles:
    """Return the TLS files of a destination."""
    return TlsFiles(
        certificate=destination.certificate,
        client_certificate=destination.client_certificate,
        client_key=destination.client_key,
    )
