"""Rows into the audit table, past what SQLAlchemy does for each row of any INSERT.

The rows of the audit table always have the same columns. So their SQL is written once, a value
goes through the bind processor of its type and nothing else, and one statement takes several rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Table

_TOGETHER = 20
"""Rows in one statement, which both drivers keep prepared; more are no quicker."""

_MARKS = {"pysqlite": "?", "aiosqlite": "?", "psycopg": "%s", "psycopg_async": "%s"}
"""Drivers that are quick at this, with their mark of a parameter."""


def insert_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[list[Any]]
) -> None:
    """Insert rows in this order, their values in the order of the columns; they are used up."""
    mark = _MARKS.get(connection.dialect.driver)
    if mark is None or connection.get_execution_options().get("schema_translate_map"):
        connection.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])
        return
    for position, process in _processors(connection.dialect, table, columns):
        known = lru_cache(maxsize=1)(process)  # rows that are written together often agree
        for row in rows:
            row[position] = known(row[position])
    name = connection.dialect.identifier_preparer.format_table(table)
    whole = len(rows) - len(rows) % _TOGETHER
    if whole:
        batches = [
            tuple(chain.from_iterable(rows[start : start + _TOGETHER]))
            for start in range(0, whole, _TOGETHER)
        ]
        connection.exec_driver_sql(_sql(name, columns, mark, _TOGETHER), batches)
    if whole < len(rows):
        rest = [tuple(row) for row in rows[whole:]]
        connection.exec_driver_sql(_sql(name, columns, mark, 1), rest)


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
