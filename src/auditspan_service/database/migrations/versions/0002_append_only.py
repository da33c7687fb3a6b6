"""The audit tables are append-only: triggers refuse every change of a row that is there.

Revision 0002, after 0001.

The triggers are the library's, and not written out here: those of the release that runs this step
are the ones that it looks for when it starts.
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
