"""Telemetry of the service: providers, exporters, instrumentation, logs."""

from __future__ import annotations
