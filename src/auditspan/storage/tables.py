"""Audit tables, for PostgreSQL 13 or newer and SQLite.

`audit_event` is the source of record and allows INSERT only, like all the tables except those of
the relays, `audit_delivery` and `audit_delivery_status`, and the two of erasable values
(`append_only` contains the triggers that enforce it). Its plain columns are derived from `body` and
exist for indexes; the body is what is sealed. There are no foreign keys to or from an audit table,
so that deleting an object never affects its history.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    text,
)

from auditspan.storage.append_only import append_only
from auditspan.storage.audit_change import audit_change_table
from auditspan.storage.column_types import (
    DatabaseClock,
    TransactionId,
    TransactionIdNow,
    UtcDateTime,
)
from auditspan.storage.erasure_tables import disclosure_table, subject_key_table
from auditspan.storage.search_terms import SEARCH_TERMS

LEASE_PREFIX = "lease:"
"""The prefix of the sink in a row of `audit_delivery` that holds a lease and no cursors."""


_BY_PREFIX = {"action": "text_pattern_ops"}
"""The operators by which PostgreSQL finds `invoice.*` in an index."""

_ID = BigInteger().with_variant(Integer(), "sqlite")  # AUTOINCREMENT requires INTEGER
_EVENT_ID = Uuid(as_uuid=False).with_variant(String(36), "sqlite")  # readable with any tool


@dataclass(frozen=True, kw_only=True)
class AuditTables:
    """The tables of one trail."""

    event: Table
    leaf: Table
    checkpoint: Table
    delivery: Table
    delivery_status: Table
    quarantine: Table
    disclosure: Table
    subject_key: Table

    @property
    def append_only(self) -> tuple[Table, ...]:
        """The tables whose rows are never changed or removed."""
        return (self.event, self.leaf, self.checkpoint, self.quarantine)

    @property
    def of_relays(self) -> tuple[Table, ...]:
        """The tables whose rows the relays change: the cursors and the status of each sink."""
        return (self.delivery, self.delivery_status)

    @property
    def erasable(self) -> tuple[Table, ...]:
        """The tables from which the erasure of a subject removes rows."""
        return (self.disclosure, self.subject_key)


def audit_tables(metadata: MetaData) -> AuditTables:
    """Return the audit tables of this metadata, and add them the first time."""
    known = metadata.tables
    prefix = f"{metadata.schema}." if metadata.schema else ""
    makers = {
        "event": _event,
        "leaf": _leaf,
        "checkpoint": _checkpoint,
        "delivery": _delivery,
        "delivery_status": _delivery_status,
        "quarantine": _quarantine,
        "disclosure": disclosure_table,
        "subject_key": subject_key_table,
    }
    audit_change_table(metadata)
    return AuditTables(
        **{
            name: known[key] if (key := f"{prefix}audit_{name}") in known else make(metadata)
            for name, make in makers.items()
        }
    )


def _event(metadata: MetaData) -> Table:
    table = Table(
        "audit_event",
        metadata,
        Column("id", _ID, Identity(always=True), primary_key=True),
        Column("xact_id", TransactionId(), server_default=TransactionIdNow()),
        Column("recorded_at", UtcDateTime(), server_default=DatabaseClock(), nullable=False),
        Column("event_id", _EVENT_ID, nullable=False),
        Column("occurred_at", UtcDateTime(), nullable=False),
        Column("actor_type", Text(), nullable=False),
        Column("actor_id", Text()),
        Column("action", Text(), nullable=False),
        Column("outcome", Text(), nullable=False),
        Column("target_type", Text()),
        Column("target_id", Text()),
        Column("trace_id", String(32)),
        Column("span_id", String(16)),
        Column("tx_id", Text(), nullable=False),
        Column("tenant", Text()),
        Column("body", Text(), nullable=False),
        Column("mac", String(64)),
        Column("mac_key_id", Text()),
        Index("ix_audit_event_event_id", "event_id", unique=True),
        Index("ix_audit_event_target", "target_type", "target_id", "id"),
        Index("ix_audit_event_actor", "actor_id", "id"),
        Index("ix_audit_event_trace", "trace_id"),
        Index("ix_audit_event_xact", "xact_id"),
        Index("ix_audit_event_target_id", "target_id", "id"),
        Index("ix_audit_event_action", "action", "id", postgresql_ops=_BY_PREFIX),
        Index("ix_audit_event_tx", "tx_id"),
        Index("ix_audit_event_occurred", "occurred_at", "id"),
        _partial("ix_audit_event_outcome", "outcome", "outcome <> 'success'"),
        _partial("ix_audit_event_tenant", "tenant", "tenant IS NOT NULL"),
        sqlite_autoincrement=True,
    )
    return SEARCH_TERMS.attach(append_only(table))


def _partial(name: str, column: str, condition: str) -> Index:
    """Return an index that costs nothing for most rows."""
    where = text(condition)
    return Index(name, column, "id", postgresql_where=where, sqlite_where=where)


def _leaf(metadata: MetaData) -> Table:
    table = Table(
        "audit_leaf",
        metadata,
        Column("seq", BigInteger(), primary_key=True, autoincrement=False),
        Column("row_id", BigInteger(), nullable=False),
        Column("event_id", _EVENT_ID, nullable=False),
        Column("leaf_hash", LargeBinary(32), nullable=False),
        Index("ix_audit_leaf_row_id", "row_id", unique=True),
        Index("ix_audit_leaf_event_id", "event_id", unique=True),
    )
    return append_only(table)


def _checkpoint(metadata: MetaData) -> Table:
    table = Table(
        "audit_checkpoint",
        metadata,
        Column("tree_size", BigInteger(), primary_key=True, autoincrement=False),
        Column("root_hash", LargeBinary(32), nullable=False),
        Column("note", Text()),
        Column("frontier", LargeBinary(), nullable=False),
        Column("snapshot", Text()),
        Column("created_at", UtcDateTime(), server_default=DatabaseClock(), nullable=False),
    )
    return append_only(table)


def _delivery(metadata: MetaData) -> Table:
    return Table(
        "audit_delivery",
        metadata,
        Column("sink", Text(), primary_key=True),
        Column("sent_seq", BigInteger(), nullable=False),
        Column("safe_seq", BigInteger(), nullable=False),
        Column("updated_at", UtcDateTime(), nullable=False),
    )


def _delivery_status(metadata: MetaData) -> Table:
    return Table(
        "audit_delivery_status",
        metadata,
        Column("sink", Text(), primary_key=True),
        Column("last_minute", BigInteger(), nullable=False),
        Column("failures", BigInteger(), nullable=False),
        Column("last_error", Text()),
        Column("failed_at", UtcDateTime()),
        Column("updated_at", UtcDateTime(), nullable=False),
    )


def _quarantine(metadata: MetaData) -> Table:
    table = Table(
        "audit_quarantine",
        metadata,
        Column("sink", Text(), primary_key=True),
        Column("seq", BigInteger(), primary_key=True, autoincrement=False),
        Column("event_id", _EVENT_ID, nullable=False),
        Column("reason", Text(), nullable=False),
        Column("created_at", UtcDateTime(), server_default=DatabaseClock(), nullable=False),
    )
    return append_only(table)
