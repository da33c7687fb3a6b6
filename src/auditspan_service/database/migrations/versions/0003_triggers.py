"""Triggers: audit tables are append-only, and changes of users, roles and API keys are staged.

Revision 0003, after 0002.

The table of staged changes is written out. The triggers, their functions and the index of search
terms are created by the library, because the release that runs this migration checks for its own at
start.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import UserDefinedType

from auditspan.alembic import (
    create_guards,
    create_staging,
    create_triggers,
    drop_guards,
    drop_staging,
    drop_triggers,
)

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


_AUDITED = {
    "users": ["updated_at"],
    "api_keys": ["secret_hash"],
    "roles": [],
    "user_roles": [],
}
"""The audited tables, with the columns that are never staged."""


def upgrade() -> None:
    create_guards(op)
    _create_audit_change()
    create_staging(op)
    for table, excluded in _AUDITED.items():
        create_triggers(op, table, exclude=excluded)


def _create_audit_change() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    clock = "clock_timestamp()" if is_postgresql else "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
    op.create_table(
        "audit_change",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=True),
            nullable=False,
        ),
        sa.Column("xact_id", sa.Text().with_variant(_Xid8(), "postgresql")),
        sa.Column("prev", sa.Text().with_variant(_Tid(), "postgresql")),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text(clock), nullable=False
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


def downgrade() -> None:
    for table in _AUDITED:
        drop_triggers(op, table)
    drop_staging(op)
    op.drop_table("audit_change")
    drop_guards(op)
