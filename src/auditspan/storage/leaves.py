"""Sealed leaves with their rows as the database has them now, read as text in sequence order.

As text, because whoever tampers can put anything into a column: a time that no Python value can
hold must become a finding, and not an error of the reader.
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
from auditspan.storage.tables import AuditTables
from auditspan.tlog import hash_leaf

_CHUNK = 100
"""Rows that are read at once. Thousands do not fit the processor's cache: the reading alone then
takes half as long again (measured on SQLite and on PostgreSQL)."""

_LARGEST = 2**63 - 1
_UNHASHED = len(SealedLeaf._fields) - 1
"""Where the plain columns begin in a row of the query."""


class _Decoded(Text):
    """Text that SQLite gives as bytes, since nothing keeps others from putting any into it."""

    def result_processor(self, dialect: Dialect, _coltype: object) -> Any:  # noqa: ANN401 (as its base)
        return _decode if dialect.name == "sqlite" else None


def _decode(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


class StoredText(FunctionElement[str]):
    """A column as text; on SQLite a literal of SQL stands for what is no text."""

    inherit_cache = True
    type = _Decoded()

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)


@compiles(StoredText, "postgresql")
def _stored_postgresql(element: StoredText, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    (column,) = element.clauses
    return f"CAST({compiler.process(column, **options)} AS TEXT)"


@compiles(StoredText)
def _stored_sqlite(element: StoredText, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    (column,) = element.clauses
    return f"CAST({_text_or_literal(compiler.process(column, **options))} AS BLOB)"


def _text_or_literal(name: str) -> str:
    # NULL stays NULL: none of the branches is taken.
    known = f"CASE WHEN typeof({name}) = 'text' THEN {name}"
    return f"{known} WHEN {name} IS NOT NULL THEN quote({name}) END"


class StoredNumber(FunctionElement[int]):
    """A column of integers; on SQLite one that no trail reaches stands for what is none."""

    inherit_cache = True
    type = BigInteger()

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)


@compiles(StoredNumber, "postgresql")
def _number_postgresql(element: StoredNumber, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    (column,) = element.clauses
    return compiler.process(column, **options)


@compiles(StoredNumber)
def _number_sqlite(element: StoredNumber, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    (column,) = element.clauses
    name = compiler.process(column, **options)
    return f"CASE typeof({name}) WHEN 'integer' THEN {name} ELSE {_LARGEST} END"


class IsCounted(FunctionElement[bool]):
    """Whether the column holds a whole number.

    On SQLite somebody can put a text there, and that comes behind all numbers: it would be the
    newest of all.
    """

    inherit_cache = True
    type = Boolean()

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)


@compiles(IsCounted, "postgresql")
def _counted_postgresql(_e: IsCounted, _c: SQLCompiler, **_: Any) -> str:  # noqa: ANN401
    return "TRUE"  # and no comparison: the planner would take it for one that leaves few rows


@compiles(IsCounted)
def _counted_sqlite(element: IsCounted, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    (column,) = element.clauses
    return f"typeof({compiler.process(column, **options)}) = 'integer'"


def stored_bytes(column: Column[Any]) -> Cast[bytes]:
    """A column as bytes, also on SQLite where it is text."""
    return cast(column, LargeBinary)


class UtcText(FunctionElement[str]):
    """A timestamp column as text in the form of the body: UTC, microseconds, ``Z``."""

    inherit_cache = True
    type = _Decoded()

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)


@compiles(UtcText, "postgresql")
def _utc_postgresql(element: UtcText, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 (the compiler's own)
    (column,) = element.clauses
    form = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
    name = compiler.process(column, **options)
    # There is no form for infinity.
    return f"coalesce(to_char({name} AT TIME ZONE 'UTC', {form}), CAST({name} AS text))"


@compiles(UtcText)
def _utc_sqlite(element: UtcText, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    (column,) = element.clauses
    name = _text_or_literal(compiler.process(column, **options))
    return f"CAST(replace({name}, ' ', 'T') || 'Z' AS BLOB)"


def sealed_leaves(
    connection: Connection, tables: AuditTables, first: int = 0
) -> Iterator[SealedLeaf]:
    """The leaves from sequence number `first` on, with their rows."""
    event, leaf = tables.event, tables.leaf
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
        .where(leaf.c.seq >= first)
        .order_by(leaf.c.seq)
        .execution_options(yield_per=_CHUNK)
    )
    with connection.execute(statement) as result:
        for rows in result.partitions():
            for row in rows:
                plain = tuple(row)  # slices of it are quicker than those of a row
                yield SealedLeaf._make((*plain[:_UNHASHED], plain[_UNHASHED:]))


def sealed_hashes(
    connection: Connection, tables: AuditTables, first: int
) -> Generator[tuple[bytes, bytes | None], None, None]:
    """For every leaf from `first` on its hash, and the hash of its row; None where that is gone."""
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


def newest_size(connection: Connection, tables: AuditTables) -> int:
    """How many leaves there are when the sequence is dense."""
    seq = tables.leaf.c.seq
    newest = connection.execute(select(func.max(seq)).where(IsCounted(seq))).scalar_one()
    return 0 if newest is None else int(newest) + 1


def _as_text(column: Column[Any]) -> FunctionElement[str]:
    return UtcText(column) if column.name == "occurred_at" else StoredText(column)
