"""Rename the label of boxes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    with op.batch_alter_table("box") as batch:
        batch.alter_column("label", new_column_name="shelf_mark", existing_type=sa.String(20))


def downgrade() -> None:
    with op.batch_alter_table("box") as batch:
        batch.alter_column("shelf_mark", new_column_name="label", existing_type=sa.String(20))
