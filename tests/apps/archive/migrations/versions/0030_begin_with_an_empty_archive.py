"""Begin with an empty archive."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    for table in ("loan", "author", "person", "record", "box"):
        op.execute(f"DELETE FROM {table}")  # noqa: S608 (constants)


def downgrade() -> None:
    pass
