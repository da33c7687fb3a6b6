"""Fill in the first boxes."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("INSERT INTO box (label) VALUES ('A-1'), ('A-2'), ('B-1')")


def downgrade() -> None:
    op.execute("DELETE FROM box")
