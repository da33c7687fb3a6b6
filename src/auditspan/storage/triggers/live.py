"""Discovery of auditspan's triggers in a database, without the models.

A migration may find tables that are no longer in the models, or have been renamed since.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Dialect, MetaData, Table, inspect
from sqlalchemy.exc import SAWarning

from auditspan.storage.triggers.dialects import TRIGGERS
from auditspan.storage.triggers.staged_table import StagedTable, excluded_in


@dataclass(frozen=True, kw_only=True)
class TriggeredTable:
    """Table with auditspan's triggers.

    Attributes:
        name, schema: the table; the schema is None if it is the default one.
        excluded: the columns that its triggers exclude.
    """

    name: str
    schema: str | None
    excluded: frozenset[str]


def triggered_tables(connection: Connection) -> list[TriggeredTable]:
    """Return every table of the database with auditspan's triggers, except child tables."""
    return [
        TriggeredTable(name=row.name, schema=row.schema, excluded=excluded_in(row.source))
        for row in TRIGGERS.of(connection).triggered_rows(connection)
    ]


def fitted(connection: Connection, staged: StagedTable) -> StagedTable:
    """Return the staged table, restricted to the columns that exist in the database."""
    table, schema = staged.table, connection.schema_for_object(staged.table)
    found = inspect(connection).get_columns(table.name, schema=schema)
    live = frozenset(column["name"] for column in found)
    absent = frozenset(column.name for column in table.columns) - live
    return replace(staged, excluded=staged.excluded & live, absent=absent)


def live_table(connection: Connection, table: Table) -> Table:
    """Return the table as in the models if its columns match the database, else as reflected.

    The models match the last revision, not the revision that is running.
    """
    found = inspect(connection).get_columns(table.name, schema=table.schema)
    if {column["name"] for column in found} == {column.name for column in table.columns}:
        return table
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # about indexes that cannot be reflected
        return Table(
            table.name,
            MetaData(),
            schema=table.schema,
            autoload_with=connection,
            resolve_fks=False,
        )


def removal_statements(
    name: str, schema: str | None, dialect: Dialect, connection: Connection | None
) -> list[str]:
    """Return the statements that drop auditspan's triggers of a table, and their unused functions.

    This works even if the table was renamed since. Without a connection, SQLite's triggers are
    named after its current name.
    """
    table = Table(name, MetaData(), schema=schema)
    return [*TRIGGERS.of(dialect).removal_statements(table, dialect, connection)]
