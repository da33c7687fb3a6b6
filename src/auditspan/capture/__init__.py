"""Capture: triggers stage what has changed, the application adds who and why (docs/adr/0016).

triggers postgresql sqlite    triggers stage row images in `audit_change`
hooks open_transaction        the context of each write, and the drain before COMMIT
drain telling objects         staged rows become changes of objects
link_runs                     and links of them
writer recording              changes become audit rows
leftovers                     staged rows that no application drained
journal transactions          records that are announced after the outermost transaction commits
audited links subjects        audited tables, and what is recorded of their rows
"""

from __future__ import annotations

import auditspan.capture.schema_events
import auditspan.capture.transactions  # noqa: F401 (hooks)
from auditspan.capture.altered import drain_first, pin
from auditspan.capture.database_errors import asks_for_retry
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.drain import drain_now
from auditspan.capture.erasable import disclose, of_actor
from auditspan.capture.hooks import attach
from auditspan.capture.leftovers import take_leftovers, unknown_tables
from auditspan.capture.migration import record_rows, target_metadata
from auditspan.capture.open_transaction import busy
from auditspan.capture.recorder import Enrich, Recorder, fresh_id, utc_now
from auditspan.capture.registry import register
from auditspan.capture.staged_change import BATCH, table_key
from auditspan.capture.triggers import create_triggers, staged_tables
from auditspan.capture.unaudited import unaudited
from auditspan.capture.writer import Capture

__all__ = [
    "BATCH",
    "CAPTURE_DIALECTS",
    "Capture",
    "Enrich",
    "Recorder",
    "asks_for_retry",
    "attach",
    "busy",
    "create_triggers",
    "disclose",
    "drain_first",
    "drain_now",
    "fresh_id",
    "of_actor",
    "pin",
    "record_rows",
    "register",
    "staged_tables",
    "table_key",
    "take_leftovers",
    "target_metadata",
    "unaudited",
    "unknown_tables",
    "utc_now",
]
