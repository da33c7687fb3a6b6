"""Tables of erasable values: encrypted disclosures, and the encrypted keys of their subjects.

They are the only audit tables from which rows are removed: by the erasure of a subject. A body has
a commitment to every disclosure, so that changed or removed rows are found by `verify`. On
PostgreSQL a function of the owner removes the rows, so that no other role needs to.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Index, LargeBinary, MetaData, String, Table, Text, Uuid, text

from auditspan.storage.column_types import DatabaseClock, UtcDateTime
from auditspan.storage.erasure_function import ERASURE_FUNCTION

_IF_SET: dict[str, Any] = dict.fromkeys(
    ("postgresql_where", "sqlite_where"), text("term IS NOT NULL")
)
_UUID = Uuid(as_uuid=False).with_variant(String(36), "sqlite")


def disclosure_table(metadata: MetaData) -> Table:
    """Add the table of disclosures, by event and commitment.

    Columns:
        encrypted: the value in encrypted form.
        term: a keyed digest of a label, for searches; otherwise NULL.
    """
    return Table(
        "audit_disclosure",
        metadata,
        Column("event_id", _UUID, primary_key=True),
        Column("sha256", String(43), primary_key=True),
        Column("subject_type", Text(), nullable=False),
        Column("subject_id", Text(), nullable=False),
        Column("key_id", _UUID, nullable=False),
        Column("encrypted", LargeBinary(), nullable=False),
        Column("term", String(32)),
        Index("ix_audit_disclosure_subject", "subject_type", "subject_id"),
        Index("ix_audit_disclosure_term", "term", **_IF_SET),
    )


def subject_key_table(metadata: MetaData) -> Table:
    """Add the table of the keys of subjects, each wrapped with the erasure key."""
    table = Table(
        "audit_subject_key",
        metadata,
        Column("key_id", _UUID, primary_key=True),
        Column("subject_type", Text(), nullable=False),
        Column("subject_id", Text(), nullable=False),
        Column("wrapped", LargeBinary(40), nullable=False),
        Column("erasure_key_id", Text(), nullable=False),
        Column("created_at", UtcDateTime(), server_default=DatabaseClock(), nullable=False),
        Index("ix_audit_subject_key_subject", "subject_type", "subject_id"),
    )
    return ERASURE_FUNCTION.attach(table)
