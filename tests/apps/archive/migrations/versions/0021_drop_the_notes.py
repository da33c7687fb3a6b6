"""Drop the notes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    with op.batch_alter_table("record") as batch:
        batch.drop_column("note")


def downgrade() -> None:
    op.add_column("record", sa.Column("note", sa.Text))
    op.execute("UPDATE record SET note = ''")
