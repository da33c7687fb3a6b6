"""Indexes for the filters of a search.

Revision 0004, after 0003.

The index of search terms and its function are created by the library. The indexes are built while
writers wait; to avoid that on a large trail, create them with CREATE INDEX CONCURRENTLY beforehand:
those that exist are left as they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from auditspan.alembic import create_search_terms, drop_search_terms

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLE = "audit_event"
_INDEXES = {
    "ix_audit_event_target_id": ["target_id", "id"],
    "ix_audit_event_action": ["action", "id"],
    "ix_audit_event_tx": ["tx_id"],
    "ix_audit_event_occurred": ["occurred_at", "id"],
    "ix_audit_event_outcome": ["outcome", "id"],
    "ix_audit_event_tenant": ["tenant", "id"],
}
_CONDITIONS = {
    "ix_audit_event_outcome": "outcome <> 'success'",
    "ix_audit_event_tenant": "tenant IS NOT NULL",
}


def upgrade() -> None:
    for name, columns in _INDEXES.items():
        where = sa.text(_CONDITIONS[name]) if name in _CONDITIONS else None
        op.create_index(
            name,
            _TABLE,
            columns,
            if_not_exists=True,
            postgresql_ops={"action": "text_pattern_ops"} if "action" in columns else {},
            postgresql_where=where,
            sqlite_where=where,
        )
    create_search_terms(op)


def downgrade() -> None:
    drop_search_terms(op)
    for name in _INDEXES:
        op.drop_index(name, _TABLE)
