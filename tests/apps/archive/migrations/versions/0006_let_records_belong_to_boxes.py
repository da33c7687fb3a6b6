"""Let records belong to boxes."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("record") as batch:
        batch.create_foreign_key("record_box", "box", ["box_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("record") as batch:
        batch.drop_constraint("record_box", type_="foreignkey")
