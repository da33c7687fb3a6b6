"""What revisions ask of the database they run on."""

from __future__ import annotations

from alembic import op


def is_postgresql() -> bool:
    """Whether it is PostgreSQL."""
    return bool(op.get_bind().dialect.name == "postgresql")
