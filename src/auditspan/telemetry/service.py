"""The service that writes records, as OpenTelemetry's resource names it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import unquote

from auditspan.format import Service
from auditspan.telemetry import semconv

_OWN = (semconv.SERVICE_NAME, semconv.SERVICE_VERSION, semconv.SERVICE_INSTANCE_ID)
_OF_SDK = "telemetry.sdk."
"""Attributes of the SDK in the process, which say nothing about the writer."""


def service_from_resource(attributes: Mapping[str, object] | None = None) -> Service:
    """Return this program as named by OpenTelemetry, with the other attributes of its resource.

    Args:
        attributes: the attributes of the resource; by default those that the SDK gives this
            process, or without the SDK those of `OTEL_SERVICE_NAME` and
            `OTEL_RESOURCE_ATTRIBUTES`.
    """
    found = _of_process() if attributes is None else attributes
    name, version, instance = (None if v is None else str(v) for v in map(found.get, _OWN))
    others = {
        key: str(value)
        for key, value in found.items()
        if key not in _OWN and not key.startswith(_OF_SDK)
    }
    return Service(
        name=name or "unknown_service", version=version, instance=instance, attributes=others
    )


def _of_process() -> Mapping[str, object]:
    """Ask the SDK if it is installed, so that spans and records have the same resource."""
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 (not required)
    except ModuleNotFoundError:
        return of_environment()
    return Resource.create().attributes


def of_environment() -> dict[str, str]:
    """Return the resource that the environment describes, as OpenTelemetry specifies it."""
    pairs = (pair.partition("=") for pair in os.environ.get(_ATTRIBUTES, "").split(","))
    found = {key.strip(): unquote(value.strip()) for key, equals, value in pairs if equals}
    if name := os.environ.get(_SERVICE_NAME):
        found[semconv.SERVICE_NAME] = name
    return found


_SERVICE_NAME, _ATTRIBUTES = "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"
