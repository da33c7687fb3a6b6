"""Alembic's environment: one transaction for each revision."""

from __future__ import annotations

from alembic import context

from apps.archive.models import Base

with context.config.attributes["engine"].connect() as connection:
    context.configure(
        connection=connection, target_metadata=Base.metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()
