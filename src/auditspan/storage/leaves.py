"""Sealed leaves with their current rows, read as text in sequence order.

They are read as text because tampering can put any value into a column: a time that Python cannot
represent must be reported as a finding, and must not make the reader fail.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    LargeBinary,
    Text,
    cast,
    func,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import Cast
from sqlalchemy.sql.functions import FunctionElement

from auditspan.format import COLUMNS, SealedLeaf
from auditspan.storage.dialects import DIALECTS
from auditspan.storage.tables import AuditTables
from auditspan.tlog import hash_leaf

_CHUNK = 100
"""The number of rows that are read at once. Thousands do not fit the CPU cache: reading alone then
takes 50 % longer (measured on SQLite and on PostgreSQL)."""

_LARGEST = 2**63 - 1
_UNHASHED = len(SealedLeaf._fields) - 1
"""The position of the first plain column in a row of the query."""


class _Decoded(Text):
    """Text that is read from SQLite as bytes, because the column may hold any bytes."""

    def result_processor(self, dialect: Dialect, _coltype: object) -> Any:  # noqa: ANN401 (as its base)
        return DIALECTS.of(dialect).text_decoder()


class StoredText(FunctionElement[str]):
    """Column as text; on SQLite, a value of another type is returned as an SQL literal."""

    inherit_cache = True
    type = _Decoded()

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)


@compiles(StoredText, "postgresql")
def _stored_postgresql(element: StoredText, compiler: SQLCompiler, **options: object) -> str:
    (column,) = element.clauses
    return f"CAST({compiler.process(column, **options)} AS TEXT)"


@compiles(StoredText)
def _stored_sqlite(element: StoredText, compiler: SQLCompiler, **options: object) -> str:
    (column,) = element.clauses
    return f"CAST({_text_or_literal(compiler.process(column, **options))} AS BLOB)"


def _text_or_literal(name: str) -> str:
    # NULL stays NULL: no branch matches.
    known = f"CASE WHEN typeof({name}) = 'text' THEN {name}"
    return f"{known} WHEN {name} IS NOT NULL THEN quote({name}) END"


class StoredNumber(FunctionElement[int]):
    """Integer column; on SQLite, a value of another type is read as a number no trail reaches."""

    inherit_cache = True
    type = BigInteger()

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)


@compiles(StoredNumber, "postgresql")
def _number_postgresql(element: StoredNumber, compiler: SQLCompiler, **options: object) -> str:
    (column,) = element.clauses
    return compiler.process(column, **options)


@compiles(StoredNumber)
def _number_sqlite(element: StoredNumber, compiler: SQLCompiler, **options: object) -> str:
    (column,) = element.clauses
    name = compiler.process(column, **options)
    return f"CASE typeof({name}) WHEN 'integer' THEN {name} ELSE {_LARGEST} END"


class IsCounted(FunctionElement[bool]):
    """Condition that the column holds an integer.

    On SQLite, tampering can put text there, which sorts after all numbers: it would appear to be
    the newest row.
    """

    inherit_cache = True
    type = Boolean()

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)


@compiles(IsCounted, "postgresql")
def _counted_postgresql(_e: IsCounted, _c: SQLCompiler, **_: object) -> str:
    return "TRUE"  # not a comparison, which the planner would assume to be selective


@compiles(IsCounted)
def _counted_sqlite(element: IsCounted, compiler: SQLCompiler, **options: object) -> str:
    (column,) = element.clauses
    return f"typeof({compiler.process(column, **options)}) = 'integer'"


def stored_bytes(column: Column[Any]) -> Cast[bytes]:
    """Return a column as bytes, even if SQLite has text in it."""
    return cast(column, LargeBinary)


class UtcText(FunctionElement[str]):
    """Timestamp column as text in the format of the body: UTC, microseconds, ``Z``."""

    inherit_cache = True
    type = _Decoded()

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)


@compiles(UtcText, "postgresql")
def _utc_postgresql(element: UtcText, compiler: SQLCompiler, **options: object) -> str:
    (column,) = element.clauses
    form = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
    name = compiler.process(column, **options)
    # to_char has no format for infinity.
    return f"coalesce(to_char({name} AT TIME ZONE 'UTC', {form}), CAST({name} AS text))"


@compiles(UtcText)
def _utc_sqlite(element: UtcText, compiler: SQLCompiler, **options: object) -> str:
    (column,) = element.clauses
    name = _text_or_literal(compiler.process(column, **options))
    return f"CAST(replace({name}, ' ', 'T') || 'Z' AS BLOB)"


def sealed_leaves(
    connection: Connection, tables: AuditTables, first: int = 0, end: int | None = None
) -> Generator[SealedLeaf, None, None]:
    """Yield the leaves from sequence number `first` on, or to before `end`, with their rows."""
    event, leaf = tables.event, tables.leaf
    numbers = leaf.c.seq >= first if end is None else leaf.c.seq.between(first, end - 1)
    statement = (
        select(
            StoredNumber(leaf.c.seq),
            StoredNumber(leaf.c.row_id),
            StoredText(leaf.c.event_id),
            stored_bytes(leaf.c.leaf_hash),
            UtcText(event.c.recorded_at),
            *(StoredText(event.c[name]) for name in ("body", "mac", "mac_key_id")),
            *(_as_text(event.c[name]) for name in COLUMNS),
        )
        .select_from(leaf.outerjoin(event, event.c.id == leaf.c.row_id))
        .where(numbers)
        .order_by(leaf.c.seq)
        .execution_options(yield_per=_CHUNK)
    )
    with connection.execute(statement) as result:
        for rows in result.partitions():
            for row in rows:
                plain = tuple(row)  # slicing it is faster than slicing a row
                yield SealedLeaf._make((*plain[:_UNHASHED], plain[_UNHASHED:]))


def sealed_hashes(
    connection: Connection, tables: AuditTables, first: int
) -> Generator[tuple[bytes, bytes | None], None, None]:
    """Yield the stored hash of each leaf and the hash of its row, or None if the row is missing."""
    event, leaf = tables.event.c, tables.leaf.c
    columns = (
        *(leaf.row_id, UtcText(event.recorded_at)),
        *(StoredText(event.mac), StoredText(event.body)),
    )
    statement = (
        select(leaf.leaf_hash, *columns)
        .select_from(tables.leaf.outerjoin(tables.event, event.id == leaf.row_id))
        .where(leaf.seq >= first, IsCounted(leaf.seq))
        .order_by(leaf.seq)
        .execution_options(yield_per=_CHUNK)
    )
    with connection.execute(statement) as result:
        for stored, row_id, recorded_at, mac, body in result:
            if body is None or recorded_at is None:
                yield stored, None
            else:
                yield stored, hash_leaf(row_id=row_id, recorded_at=recorded_at, mac=mac, body=body)


def leaf_hashes(
    connection: Connection, tables: AuditTables, first: int, end: int
) -> Iterator[bytes]:
    """Yield the stored leaf hashes from sequence number `first` to before `end`."""
    leaf = tables.leaf.c
    statement = select(leaf.leaf_hash).where(leaf.seq >= first, leaf.seq < end)
    return iter(connection.scalars(statement.order_by(leaf.seq)))


def newest_size(connection: Connection, tables: AuditTables) -> int:
    """Return the number of leaves, assuming a dense sequence."""
    seq = tables.leaf.c.seq
    newest = connection.execute(select(func.max(seq)).where(IsCounted(seq))).scalar_one()
    return 0 if newest is None else int(newest) + 1


def _as_text(column: Column[Any]) -> FunctionElement[str]:
    return UtcText(column) if column.name == "occurred_at" else StoredText(column)
