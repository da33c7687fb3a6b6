"""Fast inserts into the audit table, without SQLAlchemy's overhead for each row.

The rows of the audit table always have the same columns. Their SQL is therefore built once, values
pass only through the bind processor of their type, and one statement inserts several rows.

A rule or a trigger in the database can drop a row without an error. The driver's row count is
therefore checked; with `RETURNING` where a rule exists that inserts the row elsewhere, because it
reports the same count but cannot return anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Table, func, select

from auditspan.errors import AuditWriteError
from auditspan.storage.dialects import DIALECTS
from auditspan.storage.driver import execute, fetch, marked
from auditspan.storage.schemas import dialect_of

TOGETHER = 20
"""The number of rows in one statement, which both drivers keep prepared; more are not faster."""

_COUNTED: dict[str, Any] = {"preserve_rowcount": True}

_MARKS = {"pysqlite": "?", "aiosqlite": "?", "psycopg": "%s", "psycopg_async": "%s"}
"""The drivers for which this is faster, with their parameter placeholder."""


def insert_rows(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Sequence[list[Any]],
    *,
    by_driver: bool = False,
) -> None:
    """Insert rows in this order, with values in column order; the lists are modified.

    Args:
        connection: the connection, in a transaction.
        table: the table.
        columns: the names of the columns.
        rows: the values.
        by_driver: whether the transaction has written before through SQLAlchemy, which would have
            noticed a server that refuses writes. The statements then pass it by.

    Raises:
        AuditWriteError: the database did not insert exactly these rows.
    """
    mark = _MARKS.get(connection.dialect.driver)
    if mark is None:
        _insert_compiled(connection, table, columns, rows)
        return
    name = _prepared(connection, table, columns, rows)
    ending = DIALECTS.of(connection).RETURNING
    run = execute if by_driver else _insert_seen
    inserted = 0
    for together, batches in _batches(rows):
        inserted += run(connection, _sql(name, columns, mark, together, ending), batches)
    _require_inserted(table.name, inserted, len(rows))


def insert_and_query(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Sequence[list[Any]],
    query: tuple[str, str],
) -> Any:  # noqa: ANN401 (a value of the driver)
    """Insert rows as `insert_rows` by the driver, and execute a query with the last of them.

    Args:
        connection: the connection of a driver that returns rows, in a transaction.
        table: the table.
        columns: the names of the columns.
        rows: the values.
        query: a scalar query, and the value of its `?`.

    Returns:
        What the query returned.

    Raises:
        AuditWriteError: the database did not insert exactly these rows.
    """
    last = (len(rows) - 1) // TOGETHER * TOGETHER
    insert_rows(connection, table, columns, rows[:last], by_driver=True)
    name = _prepared(connection, table, columns, rows[last:])
    statement = _sql(name, columns, "?", len(rows) - last, f" RETURNING ({query[0]})")
    values = (*chain.from_iterable(rows[last:]), query[1])
    found = fetch(connection, marked(connection.dialect, statement), values)
    _require_inserted(table.name, len(found), len(rows) - last)
    return found[0][0]


def _prepared(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[list[Any]]
) -> str:
    """Convert the values for the driver, and return the quoted name of the table."""
    for position, process in _processors(connection.dialect, table, columns):
        for row in rows:
            row[position] = process(row[position])
    return dialect_of(connection).identifier_preparer.format_table(table)


def _batches(rows: Sequence[list[Any]]) -> Iterator[tuple[int, list[tuple[Any, ...]]]]:
    """Yield numbers of rows per statement, each with the values of all such statements."""
    whole = len(rows) - len(rows) % TOGETHER
    if whole:
        starts = range(0, whole, TOGETHER)
        yield (
            TOGETHER,
            [tuple(chain.from_iterable(rows[at : at + TOGETHER])) for at in starts],
        )
    if whole < len(rows):
        yield len(rows) - whole, [tuple(chain.from_iterable(rows[whole:]))]


def _insert_seen(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    return connection.exec_driver_sql(statement, list(rows)).rowcount


def insert_counted(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Insert one row through SQLAlchemy.

    Raises:
        AuditWriteError: the database did not insert it.
    """
    statement = table.insert().values(values).execution_options(**_COUNTED)
    _require_inserted(table.name, connection.execute(statement).rowcount, 1)


def _require_inserted(table: str, inserted: int, expected: int) -> None:
    """Check that the database inserted exactly the given number of rows.

    Raises:
        AuditWriteError: the numbers differ.
    """
    if inserted != expected:
        raise AuditWriteError(
            f"the database inserted {inserted} of {expected} rows into {table} without an error: "
            "a rule or trigger on that table drops rows. Roll back, and run `auditspan db check` "
            "to find it"
        )


def _insert_compiled(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[list[Any]]
) -> None:
    """Insert rows through SQLAlchemy; some drivers do not count rows of multiple executions."""
    values = [dict(zip(columns, row, strict=True)) for row in rows]
    statement = table.insert().execution_options(**_COUNTED)
    inserted = connection.execute(statement, values).rowcount
    if inserted != len(rows):
        inserted = _count(connection, table, [one["event_id"] for one in values])
    _require_inserted(table.name, inserted, len(rows))


def _count(connection: Connection, table: Table, event_ids: Sequence[str]) -> int:
    """Count the rows with these event ids."""
    counted = select(func.count()).select_from(table)
    return sum(
        connection.execute(counted.where(table.c.event_id.in_(some))).scalar_one()
        for some in (event_ids[start : start + 1000] for start in range(0, len(event_ids), 1000))
    )


@lru_cache(maxsize=64)
def _processors(
    dialect: Dialect, table: Table, names: tuple[str, ...]
) -> list[tuple[int, Callable[[Any], Any]]]:
    """Return the functions that convert values for the driver, with their positions."""
    types = (table.c[name].type.dialect_impl(dialect) for name in names)
    found = enumerate(type_.bind_processor(dialect) for type_ in types)
    # Rows of one batch often have equal values, such as their time.
    return [(position, lru_cache(maxsize=1)(process)) for position, process in found if process]


@lru_cache(maxsize=64)
def _sql(table: str, names: tuple[str, ...], mark: str, together: int, ending: str) -> str:
    row = f"({', '.join([mark] * len(names))})"
    columns = ", ".join(names)
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * together)}{ending}"  # noqa: S608
