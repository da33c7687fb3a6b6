"""Delete who never wrote nor borrowed."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.execute(
        "DELETE FROM person WHERE id NOT IN (SELECT person_id FROM author)"
        " AND id NOT IN (SELECT person_id FROM loan)"
    )


def downgrade() -> None:
    pass
