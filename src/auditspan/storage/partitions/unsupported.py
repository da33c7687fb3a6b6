"""Databases on which `audit_event` cannot be partitioned."""

from __future__ import annotations

from sqlalchemy import DDL, Connection, Dialect, Row, Table

from auditspan.errors import AuditConfigError

IS_SUPPORTED = False


def partitions_of(_connection: Connection, _table: Table) -> list[Row[tuple[str, str, bool]]]:
    """Return nothing."""
    return []


def partitioned_relations(_connection: Connection) -> list[Row[tuple[bool, str, str | None]]]:
    """Return nothing."""
    return []


def create_ahead(_connection: Connection, _table: Table) -> list[str]:
    """Do nothing."""
    return []


def guard_partitions(_table: Table, _dialect: Dialect) -> list[DDL]:
    """Return nothing."""
    return []


unguard_partitions = guard_partitions


def partitioning(_event: Table, _leaf: Table, _dialect: Dialect) -> list[DDL]:
    """Refuse to partition the table."""
    raise AuditConfigError(
        "partitions of audit_event require PostgreSQL: skip this step on another database"
    )
