"""Add persons by the connection."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    person = sa.table("person", sa.column("full_name", sa.Text))
    for name in ("Ann Lee", "Bob", "Cy de Witt"):
        op.get_bind().execute(sa.insert(person).values(full_name=name))


def downgrade() -> None:
    op.execute("DELETE FROM person")
