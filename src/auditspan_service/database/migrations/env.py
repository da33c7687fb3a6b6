"""Alembic's environment. It runs on the connection, and in the transaction, that it is given."""

from __future__ import annotations

from alembic import context

from auditspan_service.errors import SchemaError
from auditspan_service.models import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise SchemaError("Run migrations with `auditspan db upgrade`: they need its lock.")

context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
