"""The OpenTelemetry Collector as a child process: finding, building and running its binary.

This package uses only the standard library, and nothing of `auditspan`: it can run before anything
else is set up (`python -m auditspan_service.collector build`).

    paths = CollectorPaths.from_environ(environ)
    binary = find_binary(paths) or build(paths, progress=print)
    with Collector.start(binary, data / "collector", data / "collector.log") as collector:
        ...  # collector.audit_endpoint, collector.otlp_endpoint
"""

from __future__ import annotations

from auditspan_service.collector.binary import find_binary
from auditspan_service.collector.build import build
from auditspan_service.collector.errors import (
    CollectorError,
    CollectorStartError,
    CollectorUnavailableError,
)
from auditspan_service.collector.paths import CollectorPaths
from auditspan_service.collector.process import Collector
from auditspan_service.collector.sources import config_file

__all__ = [
    "Collector",
    "CollectorError",
    "CollectorPaths",
    "CollectorStartError",
    "CollectorUnavailableError",
    "build",
    "config_file",
    "find_binary",
]
