"""Raise the fees."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.execute("UPDATE loan SET fee = fee * 2 WHERE fee < 1")


def downgrade() -> None:
    op.execute("UPDATE loan SET fee = fee / 2 WHERE fee <= 1")
