"""Keep a word about each record."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.execute("ALTER TABLE record ADD COLUMN note TEXT DEFAULT ''")


def downgrade() -> None:
    with op.batch_alter_table("record") as batch:
        batch.drop_column("note")
