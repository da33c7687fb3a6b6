"""Rename the table of loans."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.rename_table("lending", "loan")


def downgrade() -> None:
    op.rename_table("loan", "lending")
