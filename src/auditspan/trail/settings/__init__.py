"""Settings from `AUDITSPAN_*`, and the sinks and the worker that they describe.

Needs the extra `worker`.
"""

from __future__ import annotations

from auditspan.trail.settings import otel_variables
from auditspan.trail.settings.destinations import Destination
from auditspan.trail.settings.first_keys import require_first_mac_key, require_first_signing_key
from auditspan.trail.settings.guards import require_guarded
from auditspan.trail.settings.otel_variables import Signal
from auditspan.trail.settings.settings import (
    TrailSettings,
    environment,
    load_settings,
    misspelled_variables,
    settings_from,
)
from auditspan.trail.settings.sinks import (
    audit_destination,
    destination_sink,
    destinations,
    kafka_client,
    make_sink,
)
from auditspan.trail.settings.undelivered import sink_names, undelivered
from auditspan.trail.settings.worker import in_process, mac_keys, running_worker

__all__ = [
    "Destination",
    "Signal",
    "TrailSettings",
    "audit_destination",
    "destination_sink",
    "destinations",
    "environment",
    "in_process",
    "kafka_client",
    "load_settings",
    "mac_keys",
    "make_sink",
    "misspelled_variables",
    "otel_variables",
    "require_first_mac_key",
    "require_first_signing_key",
    "require_guarded",
    "running_worker",
    "settings_from",
    "sink_names",
    "undelivered",
]
