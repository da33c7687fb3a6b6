"""Recording of events of other programs, each once for its id."""

from __future__ import annotations

from auditspan.ingest.batch import MAX_EVENTS, Receipt
from auditspan.ingest.foreign_event import MAX_TEXT, ForeignEvent
from auditspan.ingest.trail_ingest import TrailIngest

__all__ = [
    "MAX_EVENTS",
    "MAX_TEXT",
    "ForeignEvent",
    "Receipt",
    "TrailIngest",
]
