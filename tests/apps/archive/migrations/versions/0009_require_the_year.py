"""Require the year."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.batch_alter_table("record") as batch:
        batch.alter_column("year", existing_type=sa.Integer, nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("record") as batch:
        batch.alter_column("year", existing_type=sa.Integer, nullable=True)
