"""Move records out of a box that is given up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    connection = op.get_bind()
    box = sa.table("box", sa.column("id"), sa.column("shelf_mark"))
    record = sa.table("record", sa.column("id"), sa.column("box_id"))
    old, new = (
        connection.scalar(sa.select(box.c.id).where(box.c.shelf_mark == mark))
        for mark in ("B-1", "A-1")
    )
    moved = sa.update(record).where(record.c.box_id == old).values(box_id=new)
    connection.execute(moved)
    connection.execute(sa.delete(box).where(box.c.id == old))


def downgrade() -> None:
    op.execute("INSERT INTO box (shelf_mark) VALUES ('B-1')")
