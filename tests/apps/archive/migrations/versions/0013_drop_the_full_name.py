"""Drop the full name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    with op.batch_alter_table("person") as batch:
        batch.drop_column("full_name")


def downgrade() -> None:
    op.add_column("person", sa.Column("full_name", sa.Text))
    op.execute("UPDATE person SET full_name = first_name || coalesce(' ' || last_name, '')")
    with op.batch_alter_table("person") as batch:
        batch.alter_column("full_name", existing_type=sa.Text, nullable=False)
