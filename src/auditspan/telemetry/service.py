"""The service that writes records, as OpenTelemetry's resource names it."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource

from auditspan.format import Service
from auditspan.telemetry import semconv

_OWN = (semconv.SERVICE_NAME, semconv.SERVICE_VERSION, semconv.SERVICE_INSTANCE_ID)
_OF_SDK = "telemetry.sdk."
"""Attributes of the SDK in the process, which say nothing about the writer."""


def service_from_resource(resource: Resource | None = None) -> Service:
    """Return this program as named by OpenTelemetry, with the other attributes of its resource.

    Args:
        resource: the resource; by default that of the environment, to which `OTEL_SERVICE_NAME` and
            `OTEL_RESOURCE_ATTRIBUTES` apply.
    """
    found = (resource or Resource.create()).attributes
    name, version, instance = (None if v is None else str(v) for v in map(found.get, _OWN))
    others = {
        key: str(value)
        for key, value in found.items()
        if key not in _OWN and not key.startswith(_OF_SDK)
    }
    return Service(
        name=name or "unknown_service", version=version, instance=instance, attributes=others
    )
