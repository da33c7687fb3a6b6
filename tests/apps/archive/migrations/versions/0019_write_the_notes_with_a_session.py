"""Write the notes with a session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import Session

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    base = automap_base()
    base.prepare(autoload_with=op.get_bind())
    with Session(op.get_bind()) as session:
        for record in session.scalars(sa.select(base.classes.record)):
            record.note = f"{record.title} of {record.year}"
        session.flush()


def downgrade() -> None:
    op.execute("UPDATE record SET note = ''")
