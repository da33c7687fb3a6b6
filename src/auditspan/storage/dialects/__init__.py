"""Supported databases: the parts in which they differ, and the choice between them.

Every layer has its own part for each database: a module that implements a `Protocol`. `PerDialect`
selects the part for a connection. The parts of `DIALECTS` are needed by more than one layer.
"""

from __future__ import annotations

from sqlalchemy import Dialect

from auditspan.storage.dialects import postgresql, sqlite
from auditspan.storage.dialects.dialect import AuditDialect
from auditspan.storage.dialects.driver_connection import driver_connection
from auditspan.storage.dialects.per_dialect import PerDialect

__all__ = ["DIALECTS", "PerDialect", "driver_connection", "require_supported"]

DIALECTS = PerDialect[AuditDialect](postgresql=postgresql, sqlite=sqlite)
"""The part of every layer."""


def require_supported(dialect: Dialect) -> None:
    """Refuse an unsupported database; its version is known only after a connection.

    Raises:
        AuditConfigError: the database is neither PostgreSQL 13 or newer nor SQLite.
    """
    version: tuple[int, ...] | None = getattr(dialect, "server_version_info", None)
    DIALECTS.of(dialect).require_version(version or ())
