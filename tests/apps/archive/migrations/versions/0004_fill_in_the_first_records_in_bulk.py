"""Fill in the first records, in bulk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    record = sa.table("record", sa.column("title", sa.Text), sa.column("box_id", sa.Integer))
    rows = [{"title": f"Record {n}", "box_id": n % 3 + 1} for n in range(1, 13)]
    op.bulk_insert(record, rows)


def downgrade() -> None:
    op.execute(sa.text("DELETE FROM record WHERE title LIKE :title").bindparams(title="Record %"))
