"""Create the records, by SQL as it was once written."""

from __future__ import annotations

from alembic import op

from apps.archive.dialects import is_postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    key = "SERIAL PRIMARY KEY" if is_postgresql() else "INTEGER NOT NULL PRIMARY KEY"
    op.execute(f"CREATE TABLE record (id {key}, title TEXT NOT NULL, box_id INTEGER)")


def downgrade() -> None:
    op.execute("DROP TABLE record")
