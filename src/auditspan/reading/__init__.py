"""The trail, read back by an application."""

from __future__ import annotations

from auditspan.reading.criteria import Criteria, wanted_events
from auditspan.reading.event import Event
from auditspan.reading.search import Source, read_events, read_history

__all__ = ["Criteria", "Event", "Source", "read_events", "read_history", "wanted_events"]
