"""Require different shelf marks."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    with op.batch_alter_table("box") as batch:
        batch.create_unique_constraint("one_shelf_mark", ["shelf_mark"])


def downgrade() -> None:
    with op.batch_alter_table("box") as batch:
        batch.drop_constraint("one_shelf_mark", type_="unique")
