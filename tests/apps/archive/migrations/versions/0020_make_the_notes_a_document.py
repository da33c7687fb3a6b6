"""Make the notes a document."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from apps.archive.dialects import is_postgresql

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("record", sa.Column("data", sa.JSON))
    made = (
        "CAST(json_build_object('note', note) AS json)"
        if is_postgresql()
        else ("json_object('note', note)")
    )
    op.execute(f"UPDATE record SET data = {made}")  # noqa: S608 (a constant)


def downgrade() -> None:
    with op.batch_alter_table("record") as batch:
        batch.drop_column("data")
