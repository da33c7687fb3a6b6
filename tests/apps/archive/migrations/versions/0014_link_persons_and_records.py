"""Link persons and records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "author",
        sa.Column(
            "record_id",
            sa.Integer,
            sa.ForeignKey("record.id", name="author_record"),
            primary_key=True,
        ),
        sa.Column(
            "person_id",
            sa.Integer,
            sa.ForeignKey("person.id", name="author_person"),
            primary_key=True,
        ),
    )


def downgrade() -> None:
    op.drop_table("author")
