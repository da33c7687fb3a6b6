"""Count what is in a box."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("box", sa.Column("records", sa.Integer, server_default="0", nullable=False))
    op.execute(
        "UPDATE box SET records = (SELECT count(*) FROM record WHERE record.box_id = box.id)"
    )


def downgrade() -> None:
    with op.batch_alter_table("box") as batch:
        batch.drop_column("records")
