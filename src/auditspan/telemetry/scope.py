"""Version and schema of the instrumentation scope `auditspan`, on everything that it emits."""

from __future__ import annotations

from importlib.metadata import version

SCOPE_VERSION = version("auditspan")

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""The semantic conventions whose names are used beside our own."""
