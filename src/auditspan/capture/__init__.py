"""Capture: triggers stage what has changed, the application adds who and why (docs/adr/0016).

triggers postgresql sqlite          triggers stage row images in `audit_change`
schema_events altered migration     they are created, and follow the tables that they are on
hooks watch writes origin           the origin of each write is noted before it is executed
transactions commits drain          staged rows are taken before COMMIT
assembler parts objects             they become changes of objects
classes link_runs counted_rows      their classes, links, and rows that are only counted
recorder writer                     changes become audit rows
undrained                           staged rows that no application drained
open_transaction                    the state of a connection's transaction
journal                             records are announced after the outermost transaction commits
registry                            the trails of an engine
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
from auditspan.capture.migration import record_rows, target_metadata
from auditspan.capture.open_transaction import busy
from auditspan.capture.recorder import Enrich, Recorder, fresh_id, utc_now
from auditspan.capture.registry import register
from auditspan.capture.staged_change import BATCH, table_key
from auditspan.capture.triggers import create_triggers, discriminator_of, staged_tables
from auditspan.capture.unaudited import unaudited
from auditspan.capture.undrained import record_undrained, unknown_tables
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
    "discriminator_of",
    "drain_first",
    "drain_now",
    "fresh_id",
    "of_actor",
    "pin",
    "record_rows",
    "record_undrained",
    "register",
    "staged_tables",
    "table_key",
    "target_metadata",
    "unaudited",
    "unknown_tables",
    "utc_now",
]
