"""The tables of the audit trail.

Revision 0002, after 0001.

Everything is written out, and nothing is imported from the library: it changes, but this migration
must not. A trail must not be removed, so there is no downgrade. The privileges of the roles are in
deploy/postgres/grants.sql, which is run after every migration.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import UserDefinedType

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


class _Xid8(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "XID8"


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
_TIME = sa.DateTime(timezone=True)
_XACT_ID = sa.Text().with_variant(_Xid8(), "postgresql")
_INDEXES = {
    "ix_audit_event_target": ["target_type", "target_id", "id"],
    "ix_audit_event_target_id": ["target_id", "id"],
    "ix_audit_event_actor": ["actor_id", "id"],
    "ix_audit_event_occurred": ["occurred_at", "id"],
    "ix_audit_event_trace": ["trace_id"],
    "ix_audit_event_tx": ["tx_id"],
    "ix_audit_event_xact": ["xact_id"],
}


def upgrade() -> None:
    _create_audit_event()
    _index_audit_event()
    _create_audit_leaf()
    _create_audit_checkpoint()
    _create_audit_delivery()
    _create_audit_disclosure()
    _create_audit_subject_key()


def _create_audit_event() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column(
            "xact_id",
            _XACT_ID,
            server_default=sa.text("pg_current_xact_id()" if _is_postgresql() else "NULL"),
        ),
        sa.Column("recorded_at", _TIME, server_default=_database_clock(), nullable=False),
        sa.Column("event_id", _UUID, nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("actor_type", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("target_type", sa.Text()),
        sa.Column("target_id", sa.Text()),
        sa.Column("trace_id", sa.String(32)),
        sa.Column("span_id", sa.String(16)),
        sa.Column("tx_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("mac", sa.String(64)),
        sa.Column("mac_key_id", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_audit_event"),
        sqlite_autoincrement=True,
    )


def _index_audit_event() -> None:
    op.create_index("ix_audit_event_event_id", "audit_event", ["event_id"], unique=True)
    op.create_index(
        "ix_audit_event_action",
        "audit_event",
        ["action", "id"],
        postgresql_ops={"action": "text_pattern_ops"},
    )
    for name, columns in _INDEXES.items():
        op.create_index(name, "audit_event", columns)
    _create_partial_index("audit_event", "outcome", "outcome <> 'success'", "id")
    _create_partial_index("audit_event", "tenant", "tenant IS NOT NULL", "id")


def _create_audit_leaf() -> None:
    op.create_table(
        "audit_leaf",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", _UUID, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_leaf"),
    )
    op.create_index("ix_audit_leaf_row_id", "audit_leaf", ["row_id"], unique=True)
    op.create_index("ix_audit_leaf_event_id", "audit_leaf", ["event_id"], unique=True)


def _create_audit_checkpoint() -> None:
    op.create_table(
        "audit_checkpoint",
        sa.Column("tree_size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("snapshot", sa.Text()),
        sa.Column("created_at", _TIME, server_default=_database_clock(), nullable=False),
        sa.PrimaryKeyConstraint("tree_size", name="pk_audit_checkpoint"),
    )


def _create_audit_delivery() -> None:
    """Create the tables that the relay writes."""
    op.create_table(
        "audit_delivery",
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("sent_seq", sa.BigInteger(), nullable=False),
        sa.Column("safe_seq", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("sink", name="pk_audit_delivery"),
    )
    op.create_table(
        "audit_delivery_status",
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("last_minute", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("failed_at", _TIME),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("sink", name="pk_audit_delivery_status"),
    )
    op.create_table(
        "audit_quarantine",
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", _UUID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_database_clock(), nullable=False),
        sa.PrimaryKeyConstraint("sink", "seq", name="pk_audit_quarantine"),
    )


def _create_audit_disclosure() -> None:
    op.create_table(
        "audit_disclosure",
        sa.Column("event_id", _UUID, nullable=False),
        sa.Column("sha256", sa.String(43), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("key_id", _UUID, nullable=False),
        sa.Column("encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("term", sa.String(32)),
        sa.PrimaryKeyConstraint("event_id", "sha256", name="pk_audit_disclosure"),
    )
    op.create_index(
        "ix_audit_disclosure_subject", "audit_disclosure", ["subject_type", "subject_id"]
    )
    _create_partial_index("audit_disclosure", "term", "term IS NOT NULL")


def _create_audit_subject_key() -> None:
    op.create_table(
        "audit_subject_key",
        sa.Column("key_id", _UUID, nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(40), nullable=False),
        sa.Column("erasure_key_id", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_database_clock(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_audit_subject_key"),
    )
    op.create_index(
        "ix_audit_subject_key_subject", "audit_subject_key", ["subject_type", "subject_id"]
    )


def _create_partial_index(table: str, column: str, where: str, *others: str) -> None:
    op.create_index(
        f"ix_{table}_{column}",
        table,
        [column, *others],
        postgresql_where=sa.text(where),
        sqlite_where=sa.text(where),
    )


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _database_clock() -> sa.TextClause:
    if _is_postgresql():
        return sa.text("clock_timestamp()")
    return sa.text("(strftime('%Y-%m-%d %H:%M:%f000', 'now'))")
