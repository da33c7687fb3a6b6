"""Rows into the audit table, past what SQLAlchemy does for each row of any INSERT.

The rows of the audit table always have the same columns. So their SQL is written once, a value
goes through the bind processor of its type and nothing else, and one statement takes several rows.

A rule or a trigger of the database can drop a row without an error. So the driver's row count is
compared; on PostgreSQL with RETURNING, since a rule that inserts the row elsewhere reports the same
count, and cannot return anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Table, func, select

from auditspan.errors import AuditWriteError

_TOGETHER = 20
"""Rows in one statement, which both drivers keep prepared; more are no quicker."""

_COUNTED: dict[str, Any] = {"preserve_rowcount": True}

_RETURNING = {"postgresql": " RETURNING 1"}

_MARKS = {"pysqlite": "?", "aiosqlite": "?", "psycopg": "%s", "psycopg_async": "%s"}
"""Drivers that are quick at this, with their mark of a parameter."""


def insert_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[list[Any]]
) -> None:
    """Insert rows in this order, their values in the order of the columns; they are used up.

    Raises:
        AuditWriteError: the database did not insert exactly these rows.
    """
    mark = _MARKS.get(connection.dialect.driver)
    if mark is None or connection.get_execution_options().get("schema_translate_map"):
        _insert_compiled(connection, table, columns, rows)
        return
    for position, process in _processors(connection.dialect, table, columns):
        known = lru_cache(maxsize=1)(process)  # rows that are written together often agree
        for row in rows:
            row[position] = known(row[position])
    name = connection.dialect.identifier_preparer.format_table(table)
    ending = _RETURNING.get(connection.dialect.name, "")
    whole = len(rows) - len(rows) % _TOGETHER
    inserted = 0
    if whole:
        batches = [
            tuple(chain.from_iterable(rows[start : start + _TOGETHER]))
            for start in range(0, whole, _TOGETHER)
        ]
        statement = _sql(name, columns, mark, _TOGETHER) + ending
        inserted += connection.exec_driver_sql(statement, batches).rowcount
    if whole < len(rows):
        rest = [tuple(row) for row in rows[whole:]]
        statement = _sql(name, columns, mark, 1) + ending
        inserted += connection.exec_driver_sql(statement, rest).rowcount
    _require_inserted(table.name, inserted, len(rows))


def insert_counted(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Insert one row through SQLAlchemy.

    Raises:
        AuditWriteError: the database did not insert it.
    """
    statement = table.insert().values(values).execution_options(**_COUNTED)
    _require_inserted(table.name, connection.execute(statement).rowcount, 1)


def _require_inserted(table: str, inserted: int, expected: int) -> None:
    """Refuse to continue when the database did not insert exactly the given rows.

    Raises:
        AuditWriteError: it did not.
    """
    if inserted != expected:
        raise AuditWriteError(
            f"the database inserted {inserted} of {expected} rows into {table} and reported no "
            "error: a rule or a trigger of that table drops rows. Roll back, and run "
            "`auditspan db check`, which names it"
        )


def _insert_compiled(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[list[Any]]
) -> None:
    """Insert rows through SQLAlchemy; not every driver counts the rows of several executions."""
    values = [dict(zip(columns, row, strict=True)) for row in rows]
    statement = table.insert().execution_options(**_COUNTED)
    inserted = connection.execute(statement, values).rowcount
    if inserted != len(rows):
        inserted = _count(connection, table, [one["event_id"] for one in values])
    _require_inserted(table.name, inserted, len(rows))


def _count(connection: Connection, table: Table, event_ids: Sequence[str]) -> int:
    """The number of rows with these event ids."""
    counted = select(func.count()).select_from(table)
    return sum(
        connection.execute(counted.where(table.c.event_id.in_(some))).scalar_one()
        for some in (event_ids[start : start + 1000] for start in range(0, len(event_ids), 1000))
    )


def _processors(
    dialect: Dialect, table: Table, names: tuple[str, ...]
) -> list[tuple[int, Callable[[Any], Any]]]:
    types = (table.c[name].type for name in names)
    found = enumerate(type_._cached_bind_processor(dialect) for type_ in types)  # noqa: SLF001
    return [(position, processor) for position, processor in found if processor is not None]


@lru_cache(maxsize=64)
def _sql(table: str, names: tuple[str, ...], mark: str, together: int) -> str:
    row = f"({', '.join([mark] * len(names))})"
    columns = ", ".join(names)
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * together)}"  # noqa: S608
