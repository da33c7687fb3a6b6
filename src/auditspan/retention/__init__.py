"""Retention: purges of old events, and legal holds."""

from __future__ import annotations

from auditspan.retention.holds import Hold
from auditspan.retention.plan import RetentionPlan
from auditspan.retention.retention import Retention

__all__ = ["Hold", "Retention", "RetentionPlan"]
