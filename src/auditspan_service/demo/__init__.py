"""The demo: a believable week of an imaginary company, written as its programs would."""

from __future__ import annotations

from auditspan_service.demo.clock import Clock
from auditspan_service.demo.demo import Demo, Summary
from auditspan_service.demo.week import Week

__all__ = ["Clock", "Demo", "Summary", "Week"]
