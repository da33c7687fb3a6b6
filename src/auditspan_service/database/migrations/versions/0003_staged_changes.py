"""Triggers that stage the changes of users and API keys.

Revision 0003, after 0002.

The table is written out. Its function and the triggers are created by the library, because the
release that runs this migration checks for its own at start. The privileges of the roles are in
deploy/postgres/grants.sql, which is run after every migration.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import UserDefinedType

from auditspan.alembic import create_staging, create_triggers, drop_staging, drop_triggers

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


class _Xid8(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "XID8"


class _Tid(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "TID"


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_audit_change()
    create_staging(op)
    create_triggers(op, "users", exclude=["updated_at"])
    create_triggers(op, "api_keys", exclude=["secret_hash"])


def downgrade() -> None:
    drop_triggers(op, "api_keys")
    drop_triggers(op, "users")
    drop_staging(op)
    op.drop_table("audit_change")


def _create_audit_change() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    clock = "clock_timestamp()" if is_postgresql else "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
    op.create_table(
        "audit_change",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("xact_id", sa.Text().with_variant(_Xid8(), "postgresql")),
        sa.Column("prev", sa.Text().with_variant(_Tid(), "postgresql")),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text(clock),
            nullable=False,
        ),
        sa.Column("table_schema", sa.Text()),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("old", sa.Text()),
        sa.Column("new", sa.Text()),
        sa.Column("role", sa.Text()),
        sa.Column("application", sa.Text()),
        sa.Column("client_address", sa.Text()),
        sa.Column("position", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_audit_change"),
        sqlite_autoincrement=True,
    )
