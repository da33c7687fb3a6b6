"""The service that writes records, as OpenTelemetry's resource names it."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource

from auditspan.format import Service
from auditspan.telemetry import semconv


def service_from_resource() -> Service:
    """Return this program as named by OpenTelemetry.

    `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` apply.
    """
    attributes = Resource.create().attributes
    named = {name: attributes.get(name) for name in _SERVICE_ATTRIBUTES}
    name, version, instance = (None if v is None else str(v) for v in named.values())
    return Service(name=name or "unknown_service", version=version, instance=instance)


_SERVICE_ATTRIBUTES = (semconv.SERVICE_NAME, semconv.SERVICE_VERSION, semconv.SERVICE_INSTANCE_ID)
