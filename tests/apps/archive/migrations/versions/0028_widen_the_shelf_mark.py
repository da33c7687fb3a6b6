"""Widen the shelf mark."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    with op.batch_alter_table("box") as batch:
        batch.alter_column("shelf_mark", existing_type=sa.String(20), type_=sa.String(40))


def downgrade() -> None:
    with op.batch_alter_table("box") as batch:
        batch.alter_column("shelf_mark", existing_type=sa.String(40), type_=sa.String(20))
