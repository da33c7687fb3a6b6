"""Tables on a real PostgreSQL whose rows are staged by triggers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, create_engine

from auditspan.storage.audit_change import audit_change_table
from auditspan.storage.triggers.postgresql import (
    staging_statements,
    trigger_problems,
    trigger_statements,
)
from auditspan.storage.triggers.staged_table import StagedTable

DRAIN = "SELECT operation, old, new, table_schema, table_name FROM auditspan_drain(NULL)"
RECORD = "INSERT INTO audit_event VALUES ('{}')"

Change = tuple[str, Any, Any]


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A database with a staging table."""

    engine: Engine
    staging: Table

    def table(self, table: Table, excluded: frozenset[str] = frozenset()) -> StagedTable:
        """Make the triggers of a table that exists."""
        staged = StagedTable(table=table, staging=self.staging, excluded=excluded)
        self.run(*trigger_statements(staged, self.engine.dialect))
        return staged

    def created(self, table: Table, excluded: frozenset[str] = frozenset()) -> StagedTable:
        """Create a table and its triggers."""
        with self.engine.begin() as connection:
            table.create(connection)
        return self.table(table, excluded)

    def run(self, *statements: str) -> None:
        """Execute statements in one transaction."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def changes(self, *statements: str) -> list[Change]:
        """Execute statements in one transaction, drain it and insert an audit row."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
            changes = drained(connection)
            connection.exec_driver_sql(RECORD)
            return changes

    def texts(self, *statements: str) -> list[tuple[str, str | None, str | None]]:
        """As `changes`, with the images as text."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
            return drained_texts(connection)

    def left(self) -> int:
        """Count the rows in the staging table."""
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM audit_change").scalar_one())

    def problems(self, staged: StagedTable) -> list[str]:
        """Check the triggers of a table."""
        with self.engine.connect() as connection:
            return trigger_problems(connection, staged)


@contextmanager
def staged_database(url: str) -> Iterator[Staged]:
    """Create the staging table in an empty database, beside an `audit_event`."""
    engine = create_engine(url)
    staging = audit_change_table(MetaData())
    try:
        with engine.begin() as connection:
            staging.create(connection)
            connection.exec_driver_sql("CREATE TABLE audit_event (body text)")
            for statement in staging_statements(staging, engine.dialect):
                connection.exec_driver_sql(statement)
        yield Staged(engine=engine, staging=staging)
    finally:
        engine.dispose()


def drained_texts(connection: Connection) -> list[tuple[str, str | None, str | None]]:
    """Drain the transaction; oldest change first."""
    rows = connection.exec_driver_sql(DRAIN).all()
    return [(row.operation, row.old, row.new) for row in reversed(rows)]


def drained(connection: Connection) -> list[Change]:
    """Drain the transaction, with the images decoded; oldest change first."""
    return [
        (operation, _decoded(old), _decoded(new))
        for operation, old, new in drained_texts(connection)
    ]


def _decoded(image: str | None) -> Any:
    """An object, or a pair of an object and its notes."""
    parts = [json.loads(line) for line in (image or "null").split("\n", 1)]
    return parts[0] if len(parts) == 1 else tuple(parts)
