"""Recording of events of other programs, each once for its id."""

from __future__ import annotations

from auditspan.trail.ingest.batch import MAX_EVENTS, Receipt
from auditspan.trail.ingest.foreign_event import MAX_TEXT, ForeignEvent
from auditspan.trail.ingest.trail_ingest import TrailIngest

__all__ = [
    "MAX_EVENTS",
    "MAX_TEXT",
    "ForeignEvent",
    "Receipt",
    "TrailIngest",
]
