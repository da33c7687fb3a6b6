"""Retention: purges of old events, and legal holds."""

from __future__ import annotations

from auditspan.trail.retention.holds import Hold
from auditspan.trail.retention.plan import RetentionPlan
from auditspan.trail.retention.retention import Retention

__all__ = ["Hold", "Retention", "RetentionPlan"]
