"""Split the names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("person", sa.Column("first_name", sa.Text))
    op.add_column("person", sa.Column("last_name", sa.Text))
    connection = op.get_bind()
    for key, name in connection.execute(sa.text("SELECT id, full_name FROM person")).all():
        first, _, last = name.partition(" ")
        connection.execute(
            sa.text("UPDATE person SET first_name = :first, last_name = :last WHERE id = :id"),
            {"first": first, "last": last or None, "id": key},
        )


def downgrade() -> None:
    with op.batch_alter_table("person") as batch:
        batch.drop_column("last_name")
        batch.drop_column("first_name")
