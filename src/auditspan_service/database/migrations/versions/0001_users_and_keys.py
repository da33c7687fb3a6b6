"""Users, their roles and API keys.

Revision 0001, after nothing.

Everything is written out, and nothing is imported from the models: those change, but this migration
must not. A trail must not be removed, so there is no downgrade.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_SCOPES = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _create_users()
    _create_roles()
    _create_api_keys()


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


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("name", sa.String(100)),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("scopes", _SCOPES, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(100)),
        sa.Column("is_bounded", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id_users"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])
    op.create_table(
        "api_key_uses",
        sa.Column("key_id", _ID, autoincrement=False, nullable=False),
        sa.Column("last_used_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_key_uses"),
    )
