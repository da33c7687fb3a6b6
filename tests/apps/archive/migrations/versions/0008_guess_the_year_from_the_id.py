"""Guess the year from the id."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("UPDATE record SET year = 1900 + id * 7 WHERE year IS NULL")


def downgrade() -> None:
    op.execute("UPDATE record SET year = NULL")
