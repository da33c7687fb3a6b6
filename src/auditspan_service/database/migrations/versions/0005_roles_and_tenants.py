"""Roles of users, tenants of API keys, and the last use of each key.

Revision 0005, after 0004.

The privileges of the roles of the database are in deploy/postgres/grants.sql, which is run after
every migration.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from auditspan.alembic import create_triggers, drop_triggers

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_SCOPES = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _create_roles()
    op.add_column("api_keys", sa.Column("tenant", sa.String(100)))
    op.add_column(
        "api_keys",
        sa.Column("is_bounded", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "api_key_uses",
        sa.Column("key_id", _ID, autoincrement=False, nullable=False),
        sa.Column("last_used_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_key_uses"),
    )
    create_triggers(op, "roles")
    create_triggers(op, "user_roles")
    create_triggers(op, "api_keys", exclude=["secret_hash"])


def _create_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("scopes", _SCOPES, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_roles"),
        sa.UniqueConstraint("name", name="uq_roles_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "user_roles",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("role_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "role_id", name="pk_user_roles"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_roles_user_id_users"),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name="fk_user_roles_role_id_roles"),
    )
    op.create_index("ix_user_roles_role_id", "user_roles", ["role_id"])


def downgrade() -> None:
    drop_triggers(op, "api_keys")
    drop_triggers(op, "user_roles")
    drop_triggers(op, "roles")
    op.drop_table("api_key_uses")
    op.drop_table("user_roles")
    op.drop_table("roles")
    op.drop_column("api_keys", "is_bounded")
    op.drop_column("api_keys", "tenant")
    create_triggers(op, "api_keys", exclude=["secret_hash"])
