"""The audit tables (design: PostgreSQL 13 or newer, and SQLite).

`audit_event` is the source of record and takes INSERT only, as all of them do but `audit_delivery`,
whose cursors move (`appendonly` has the triggers that keep it so). Its plain columns are derived
from `body` and exist for indexes; the body is what is sealed. Nothing has a foreign key into an
audit table or out of one, so that deleting a thing never touches its history.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler, TypeCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, UserDefinedType

from auditspan.appendonly import append_only
from auditspan.errors import AuditConfigError

SUPPORTED_DIALECTS = ("postgresql", "sqlite")
MIN_POSTGRESQL = (13,)

LEASE_PREFIX = "lease:"
"""How the sink of a row of `audit_delivery` begins that holds a lease, and no cursors."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware timestamp in UTC with microseconds; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC; SQLite has no zone and stores the bare time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise AuditConfigError("a timestamp without a time zone cannot be stored")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """In UTC, whatever the session's time zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's xid8. SQLite has no transaction ids; the column stays NULL there."""

    cache_ok = True


@compiles(TransactionId, "postgresql")
def _xid8(_type: TransactionId, _compiler: TypeCompiler, **_: object) -> str:
    return "XID8"


@compiles(TransactionId)
def _no_xid8(_type: TransactionId, _compiler: TypeCompiler, **_: object) -> str:
    return "TEXT"


class TupleId(UserDefinedType[str]):
    """PostgreSQL's tid, the place of a row. The column stays NULL on SQLite."""

    cache_ok = True


@compiles(TupleId, "postgresql")
def _tid(_type: TupleId, _compiler: TypeCompiler, **_: object) -> str:
    return "TID"


@compiles(TupleId)
def _no_tid(_type: TupleId, _compiler: TypeCompiler, **_: object) -> str:
    return "TEXT"


# Reflection (Alembic's autogenerate) would warn of an unknown type otherwise.
ischema_names.setdefault("xid8", TransactionId)
ischema_names.setdefault("tid", TupleId)


class DatabaseClock(FunctionElement[datetime]):
    """The time by the clock of the database, at this statement."""

    inherit_cache = True


class _TransactionIdNow(FunctionElement[str]):
    inherit_cache = True


@compiles(DatabaseClock, "postgresql")
def _clock_postgresql(_e: DatabaseClock, _c: SQLCompiler, **_: object) -> str:
    return "clock_timestamp()"


@compiles(DatabaseClock)
def _clock_sqlite(_e: DatabaseClock, _c: SQLCompiler, **_: object) -> str:
    # SQLite's clock has milliseconds; the zeros make the stored text as wide as SQLAlchemy's own.
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"


@compiles(_TransactionIdNow, "postgresql")
def _xid_postgresql(_e: _TransactionIdNow, _c: SQLCompiler, **_: object) -> str:
    return "pg_current_xact_id()"


@compiles(_TransactionIdNow)
def _xid_sqlite(_e: _TransactionIdNow, _c: SQLCompiler, **_: object) -> str:
    return "NULL"


_ID = BigInteger().with_variant(Integer(), "sqlite")  # AUTOINCREMENT wants INTEGER
_EVENT_ID = Uuid(as_uuid=False).with_variant(String(36), "sqlite")  # readable with any tool


@dataclass(frozen=True, kw_only=True)
class AuditTables:
    """The five tables of one trail."""

    event: Table
    leaf: Table
    checkpoint: Table
    delivery: Table
    quarantine: Table

    @property
    def append_only(self) -> tuple[Table, ...]:
        """Those whose rows are never changed or removed; only the cursors of delivery move."""
        return (self.event, self.leaf, self.checkpoint, self.quarantine)


def audit_tables(metadata: MetaData) -> AuditTables:
    """The audit tables of this metadata; they are added to it the first time."""
    known = metadata.tables
    prefix = f"{metadata.schema}." if metadata.schema else ""
    makers = {
        "event": _event,
        "leaf": _leaf,
        "checkpoint": _checkpoint,
        "delivery": _delivery,
        "quarantine": _quarantine,
    }
    from auditspan.capture.staging import audit_change_table  # noqa: PLC0415 (it takes types from here)

    audit_change_table(metadata)
    return AuditTables(
        **{
            name: known[key] if (key := f"{prefix}audit_{name}") in known else make(metadata)
            for name, make in makers.items()
        }
    )


def require_supported(dialect: Dialect) -> None:
    """Refuse a database on which the promises cannot be kept; the version is known once connected.

    Raises:
        AuditConfigError: it is neither PostgreSQL 13 or newer nor SQLite.
    """
    version: tuple[int, ...] | None = getattr(dialect, "server_version_info", None)
    if dialect.name not in SUPPORTED_DIALECTS:
        raise AuditConfigError(
            f"auditspan keeps its promises on PostgreSQL 13 or newer and on SQLite, not on "
            f"{dialect.name}: bind the session to one of those"
        )
    if dialect.name == "postgresql" and version and version < MIN_POSTGRESQL:
        raise AuditConfigError(
            f"auditspan needs PostgreSQL 13 or newer (for pg_current_xact_id), this one is "
            f"{'.'.join(map(str, version))}"
        )


def _event(metadata: MetaData) -> Table:
    table = Table(
        "audit_event",
        metadata,
        Column("id", _ID, Identity(always=True), primary_key=True),
        Column("xact_id", TransactionId(), server_default=_TransactionIdNow()),
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
        sqlite_autoincrement=True,
    )
    return append_only(table)


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
