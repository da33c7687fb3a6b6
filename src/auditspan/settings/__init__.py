"""Settings from `AUDITSPAN_*`, and the sinks and the worker that they describe.

Needs the extra `cli`.
"""

from __future__ import annotations

from auditspan.settings.destinations import Destination
from auditspan.settings.guards import require_guarded
from auditspan.settings.settings import (
    TrailSettings,
    environment,
    load_settings,
    settings_from,
)
from auditspan.settings.sinks import audit_destination, make_sink, otlp_sink
from auditspan.settings.worker import in_process, mac_keys, running_worker

__all__ = [
    "Destination",
    "TrailSettings",
    "audit_destination",
    "environment",
    "in_process",
    "load_settings",
    "mac_keys",
    "make_sink",
    "otlp_sink",
    "require_guarded",
    "running_worker",
    "settings_from",
]
