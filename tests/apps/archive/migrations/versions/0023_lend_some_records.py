"""Lend some records."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("INSERT INTO lending (record_id, person_id, fee) VALUES (1, 1, 0.5), (2, 1, 1.25)")


def downgrade() -> None:
    op.execute("DELETE FROM lending")
