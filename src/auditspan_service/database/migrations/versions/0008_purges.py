"""Purges: rows that a sealed event `trail.purge` authorises can be removed.

Revision 0008, after 0007.

The triggers and functions are created by the library. The role that may execute the functions is in
deploy/postgres/grants.sql, which is run after every migration.
"""

from __future__ import annotations

from alembic import op

from auditspan.alembic import create_guards

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_guards(op)


def downgrade() -> None:
    """Leave the triggers as they are: the functions that they call are those of this release."""
