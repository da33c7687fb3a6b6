"""Alembic's environment, which uses the given connection and its transaction."""

from __future__ import annotations

from alembic import context

from auditspan_service.errors import SchemaError
from auditspan_service.models import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise SchemaError("Run migrations with `auditspan db upgrade`: they require its lock.")

context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
