"""Statements that are executed with the creation of a table, and after it is dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from sqlalchemy import DDL, Connection, Dialect, Table, event

from auditspan.storage.dialects import PerDialect
from auditspan.storage.schemas import dialect_of

Statements: TypeAlias = Callable[[Table, Dialect], Iterable[str]]
"""Returns the statements for a table, which may be in a schema."""


class TableDdl(NamedTuple):
    """Statements that create and drop what belongs to a table."""

    create: Statements
    drop: Statements

    def attach(self, table: Table) -> Table:
        """Execute the statements whenever the table is created or dropped, as by `create_all`."""
        # Propagated to copies made by `Table.to_metadata`.
        for moment, make in (("after_create", self.creation), ("after_drop", self.removal)):
            event.listen(table, moment, _listener(make), propagate=True)
        return table

    def creation(self, table: Table, dialect: Dialect) -> list[DDL]:
        """Return the statements that create it."""
        return ddl(self.create(table, dialect))

    def removal(self, table: Table, dialect: Dialect) -> list[DDL]:
        """Return the statements that drop it."""
        return ddl(self.drop(table, dialect))


def on_postgresql(make: Statements) -> Statements:
    """Return the same statements for PostgreSQL, and none for another database."""
    of = PerDialect[Statements](postgresql=make, sqlite=lambda *_: ())
    return lambda table, dialect: of.of(dialect)(table, dialect)


def ddl(statements: Iterable[str]) -> list[DDL]:
    """Return statements of SQL, in which percent signs are doubled."""
    return [DDL(statement) for statement in statements]  # type: ignore[no-untyped-call]


def _listener(make: Callable[[Table, Dialect], Iterable[DDL]]) -> Callable[..., None]:
    def execute(table: Table, connection: Connection, **_: object) -> None:
        for statement in make(table, dialect_of(connection)):
            connection.execute(statement)

    return execute
