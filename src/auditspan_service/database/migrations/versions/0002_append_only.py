"""Append-only audit tables: triggers refuse every change of an existing row.

Revision 0002, after 0001.

The triggers are created by the library and not written out here, because the release that runs this
migration checks for its own triggers at start.
"""

from __future__ import annotations

from alembic import op

from auditspan.alembic import create_guards, drop_guards

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_guards(op)


def downgrade() -> None:
    drop_guards(op)
