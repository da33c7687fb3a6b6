"""Add a year."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("record", sa.Column("year", sa.Integer))


def downgrade() -> None:
    with op.batch_alter_table("record") as batch:
        batch.drop_column("year")
