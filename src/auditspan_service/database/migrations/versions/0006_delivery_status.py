"""The status of the delivery to each sink: its rate and its last error.

Revision 0006, after 0005.

The privileges of the roles of the database are in deploy/postgres/grants.sql, which is run after
every migration.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "audit_delivery_status",
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("last_minute", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("failed_at", _TIME),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("sink", name="pk_audit_delivery_status"),
    )


def downgrade() -> None:
    op.drop_table("audit_delivery_status")
