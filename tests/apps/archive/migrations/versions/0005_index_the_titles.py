"""Index the titles."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("ix_record_title", "record", ["title"])


def downgrade() -> None:
    op.drop_index("ix_record_title", "record")
