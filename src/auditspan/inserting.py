"""Rows into the audit table, past what SQLAlchemy does for each row of any INSERT.

The rows of the audit table always have the same columns. So their SQL is written once, a value
goes through the bind processor of its type and nothing else, and one statement takes several rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Table

_TOGETHER = 20
"""Rows in one statement, which both drivers keep prepared; more are no quicker."""

_MARKS = {"pysqlite": "?", "aiosqlite": "?", "psycopg": "%s", "psycopg_async": "%s"}
"""Drivers that are quick at this, with their mark of a parameter."""


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all with the same columns, in this order."""
    mark = _MARKS.get(connection.dialect.driver)
    if mark is None or connection.get_execution_options().get("schema_translate_map"):
        connection.execute(table.insert(), rows)
        return
    bound = list(_bound(connection.dialect, table, rows))
    name = connection.dialect.identifier_preparer.format_table(table)
    whole = len(bound) - len(bound) % _TOGETHER
    if whole:
        batches = [
            tuple(chain.from_iterable(bound[start : start + _TOGETHER]))
            for start in range(0, whole, _TOGETHER)
        ]
        connection.exec_driver_sql(_sql(name, tuple(rows[0]), mark, _TOGETHER), batches)
    if whole < len(bound):
        connection.exec_driver_sql(_sql(name, tuple(rows[0]), mark, 1), bound[whole:])


def _bound(
    dialect: Dialect, table: Table, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Any, ...]]:
    processors = _processors(dialect, table, tuple(rows[0]))
    for row in rows:
        values = list(row.values())
        for position, processor in processors:
            values[position] = processor(values[position])
        yield tuple(values)


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
