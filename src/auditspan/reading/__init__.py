"""The trail, read back by an application."""

from __future__ import annotations

from auditspan.reading.cloudevents import export_cloudevents
from auditspan.reading.criteria import Criteria, Exclusions, require_possible
from auditspan.reading.event import Event
from auditspan.reading.export import check_export, export_csv, export_ndjson
from auditspan.reading.history import History
from auditspan.reading.inclusion import Inclusion, read_inclusion
from auditspan.reading.ocsf import export_ocsf
from auditspan.reading.proof import EventProof, check_proof, prove_event
from auditspan.reading.sealed_events import Read
from auditspan.reading.search import Source, by_id_or_label, read_history
from auditspan.reading.trail_events import TrailEvents

__all__ = [
    "Criteria",
    "Event",
    "EventProof",
    "Exclusions",
    "History",
    "Inclusion",
    "Read",
    "Source",
    "TrailEvents",
    "by_id_or_label",
    "check_export",
    "check_proof",
    "export_cloudevents",
    "export_csv",
    "export_ndjson",
    "export_ocsf",
    "prove_event",
    "read_history",
    "read_inclusion",
    "require_possible",
]
