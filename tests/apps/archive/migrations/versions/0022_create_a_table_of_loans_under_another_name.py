"""Create a table of loans under another name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "lending",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("record_id", sa.Integer, sa.ForeignKey("record.id", name="lending_record")),
        sa.Column("person_id", sa.Integer, sa.ForeignKey("person.id", name="lending_person")),
        sa.Column("fee", sa.Numeric(8, 2), server_default="0", nullable=False),
    )


def downgrade() -> None:
    op.drop_table("lending")
