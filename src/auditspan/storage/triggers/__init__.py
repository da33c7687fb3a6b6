"""Triggers that stage row images, by database."""

from __future__ import annotations

from auditspan.storage.triggers.dialects import TRIGGERS
from auditspan.storage.triggers.live import fitted, live_table, removal_statements, triggered_tables
from auditspan.storage.triggers.postgresql_triggers import RECORDED
from auditspan.storage.triggers.sqlite_images import image_value
from auditspan.storage.triggers.staged_table import StagedTable

__all__ = [
    "RECORDED",
    "TRIGGERS",
    "StagedTable",
    "fitted",
    "image_value",
    "live_table",
    "removal_statements",
    "triggered_tables",
]
