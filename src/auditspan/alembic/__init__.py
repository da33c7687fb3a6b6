"""Alembic operations and column types for migrations."""

from __future__ import annotations

from auditspan.alembic.operations import (
    create_erasure,
    create_guards,
    create_search_terms,
    create_staging,
    create_triggers,
    drop_erasure,
    drop_guards,
    drop_search_terms,
    drop_staging,
    drop_triggers,
    partition_audit_event,
)
from auditspan.capture import record_rows
from auditspan.storage import TransactionId, TupleId, UtcDateTime

__all__ = [
    "TransactionId",
    "TupleId",
    "UtcDateTime",
    "create_erasure",
    "create_guards",
    "create_search_terms",
    "create_staging",
    "create_triggers",
    "drop_erasure",
    "drop_guards",
    "drop_search_terms",
    "drop_staging",
    "drop_triggers",
    "partition_audit_event",
    "record_rows",
    "support_autogenerate",
]


def support_autogenerate() -> None:
    """Let autogenerate propose the audit tables with their types, guards and triggers."""
    import auditspan.alembic.autogenerate  # noqa: F401, PLC0415 (it registers itself)
