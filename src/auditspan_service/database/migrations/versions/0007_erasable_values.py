"""Erasable values: their disclosures, and the keys of their subjects.

Revision 0007, after 0006.

The privileges of the roles of the database are in deploy/postgres/grants.sql, which is run after
every migration. Values that are recorded before this migration cannot be erased.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from auditspan.alembic import create_erasure, drop_erasure

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    has_term = sa.text("term IS NOT NULL")
    op.create_table(
        "audit_disclosure",
        sa.Column("event_id", _UUID, nullable=False),
        sa.Column("sha256", sa.String(43), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("key_id", _UUID, nullable=False),
        sa.Column("encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("term", sa.String(32)),
        sa.PrimaryKeyConstraint("event_id", "sha256", name="pk_audit_disclosure"),
    )
    op.create_index(
        "ix_audit_disclosure_subject", "audit_disclosure", ["subject_type", "subject_id"]
    )
    op.create_index(
        "ix_audit_disclosure_term",
        "audit_disclosure",
        ["term"],
        postgresql_where=has_term,
        sqlite_where=has_term,
    )
    _create_subject_keys()
    create_erasure(op)


def _create_subject_keys() -> None:
    op.create_table(
        "audit_subject_key",
        sa.Column("key_id", _UUID, nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(40), nullable=False),
        sa.Column("erasure_key_id", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_clock(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_audit_subject_key"),
    )
    op.create_index(
        "ix_audit_subject_key_subject", "audit_subject_key", ["subject_type", "subject_id"]
    )


def _clock() -> sa.TextClause:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    now = "clock_timestamp()" if is_postgresql else "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
    return sa.text(now)


def downgrade() -> None:
    drop_erasure(op)
    op.drop_table("audit_subject_key")
    op.drop_table("audit_disclosure")
