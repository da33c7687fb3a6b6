"""Users, API keys and the audit trail.

Revision 0001, after nothing.

Everything is written out, and nothing is imported from the models or the library: those change, but
this migration must not. A trail must not be removed, so there is no downgrade.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


class _Xid8(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "XID8"


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_EVENT_ID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
_TIME = sa.DateTime(timezone=True)
_XACT_ID = sa.Text().with_variant(_Xid8(), "postgresql")


def upgrade() -> None:
    _create_users()
    _create_api_keys()
    _create_audit_event()
    _create_audit_leaf()
    _create_audit_work_tables()


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _database_clock() -> sa.TextClause:
    if _is_postgresql():
        return sa.text("clock_timestamp()")
    return sa.text("(strftime('%Y-%m-%d %H:%M:%f000', 'now'))")


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("username", sa.String(50), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("full_name", sa.String(200)),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "length(username) BETWEEN 1 AND 50", name=op.f("ck_users_username_length")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
        sqlite_autoincrement=True,
    )


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("name", sa.String(100)),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column(
            "scopes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id_users"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])


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
        sa.Column("event_id", _EVENT_ID, nullable=False),
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
    op.create_index("ix_audit_event_event_id", "audit_event", ["event_id"], unique=True)
    op.create_index("ix_audit_event_target", "audit_event", ["target_type", "target_id", "id"])
    op.create_index("ix_audit_event_actor", "audit_event", ["actor_id", "id"])
    op.create_index("ix_audit_event_trace", "audit_event", ["trace_id"])
    op.create_index("ix_audit_event_xact", "audit_event", ["xact_id"])


def _create_audit_leaf() -> None:
    op.create_table(
        "audit_leaf",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", _EVENT_ID, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_leaf"),
    )
    op.create_index("ix_audit_leaf_row_id", "audit_leaf", ["row_id"], unique=True)
    op.create_index("ix_audit_leaf_event_id", "audit_leaf", ["event_id"], unique=True)


def _create_audit_work_tables() -> None:
    """Create the tables that the sealer and the relay write beside the leaves."""
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
    op.create_table(
        "audit_delivery",
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("sent_seq", sa.BigInteger(), nullable=False),
        sa.Column("safe_seq", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("sink", name="pk_audit_delivery"),
    )
    op.create_table(
        "audit_quarantine",
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", _EVENT_ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_database_clock(), nullable=False),
        sa.PrimaryKeyConstraint("sink", "seq", name="pk_audit_quarantine"),
    )
