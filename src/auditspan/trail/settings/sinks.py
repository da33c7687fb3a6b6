"""The sinks of the settings."""

from __future__ import annotations

from pathlib import Path

from auditspan.delivery import ConsoleSink, FileSink, OtlpSink, Sink, TlsFiles
from auditspan.delivery.kafka import KafkaAddress, KafkaClient, KafkaSink, is_kafka, read_properties
from auditspan.errors import AuditConfigError
from auditspan.trail.settings.destinations import Destination
from auditspan.trail.settings.settings import TrailSettings


def make_sinks(settings: TrailSettings) -> tuple[Sink, ...]:
    """Create the sink of `AUDITSPAN_SINK`, and one for each of `AUDITSPAN_MORE_SINKS`."""
    return tuple(make_sink(settings, name) for name in (settings.sink, *settings.more_sinks))


def make_sink(settings: TrailSettings, name: str) -> Sink:
    """Create the sink with this name.

    Raises:
        KeyError: it is neither that of `AUDITSPAN_SINK` nor one of `AUDITSPAN_MORE_SINKS`.
    """
    if name != settings.sink:
        return destination_sink(destinations(settings)[name], name=name)
    match settings.sink:
        case "otlp":
            return destination_sink(audit_destination(settings), name="otlp")
        case "file":
            return FileSink(settings.collector_files)
        case "console":
            return ConsoleSink()


def audit_destination(settings: TrailSettings) -> Destination:
    """Return the collector or topic that the sink `otlp` delivers to."""
    if is_kafka(settings.audit_endpoint):
        return Destination(
            endpoint=settings.audit_endpoint,
            timeout=settings.audit_timeout,
            properties=settings.kafka_properties,
        )
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
    more = {
        name: one.model_copy(update={"properties": one.properties or settings.kafka_properties})
        if one.is_kafka
        else one
        for name, one in settings.more_sinks.items()
    }
    return {**first, **more}


def destination_sink(
    destination: Destination, *, name: str, timeout: float | None = None
) -> OtlpSink | KafkaSink:
    """Create a sink for this destination; `timeout` overrides the destination's own.

    Raises:
        AuditConfigError: the properties of a topic are invalid, or its extra is not installed.
    """
    if destination.is_kafka:
        client = kafka_client(destination.endpoint, destination.properties)
        return KafkaSink(client, name=name, timeout=timeout or destination.timeout)
    return OtlpSink(
        destination.endpoint,
        name=name,
        timeout=timeout or destination.timeout,
        tls=TlsFiles(
            certificate=destination.certificate,
            client_certificate=destination.client_certificate,
            client_key=destination.client_key,
        ),
        headers=destination.headers,
        compression=destination.compression,
        acknowledgement=destination.acknowledgement,
    )


def kafka_client(url: str, properties: Path | None) -> KafkaClient:
    """Return the connection options of a Kafka topic.

    Raises:
        AuditConfigError: the URL or the file of properties is invalid.
    """
    try:
        address = KafkaAddress.parse(url)
    except ValueError as error:
        raise AuditConfigError(f"invalid URL of a Kafka topic: {error}") from None
    return KafkaClient(
        address=address, properties=read_properties(properties) if properties else {}
    )
