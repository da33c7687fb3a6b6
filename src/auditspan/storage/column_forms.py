"""Forms of a column in a query, which are compiled for each database.

Sealed rows are read in these forms, because tampering can put any value into a column: a time that
Python cannot represent must be reported as a finding, and must not make the reader fail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, TypeVar

from sqlalchemy import BigInteger, Boolean, Column, Dialect, LargeBinary, Text, cast
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import Cast
from sqlalchemy.sql.functions import FunctionElement

from auditspan.storage.dialects import DIALECTS, PerDialect

_T = TypeVar("_T")

Forms: TypeAlias = PerDialect[Callable[[str], str]]
"""The SQL of the form on each database, from the SQL of the column."""

_LARGEST = 2**63 - 1


class ColumnForm(FunctionElement[_T]):
    """Form of one column.

    Attributes:
        forms: its SQL.
    """

    inherit_cache = True
    forms: ClassVar[Forms]


@compiles(ColumnForm)
def _compile(element: ColumnForm[Any], compiler: SQLCompiler, **options: object) -> str:
    (column,) = element.clauses
    return element.forms.of(compiler.dialect)(compiler.process(column, **options))


class _Decoded(Text):
    """Text that is read from SQLite as bytes, because the column may hold any bytes."""

    def result_processor(
        self, dialect: Dialect, _coltype: object
    ) -> Callable[[bytes | None], str | None] | None:
        return DIALECTS.of(dialect).text_decoder()


def _text_or_literal(name: str) -> str:
    # NULL stays NULL: no branch matches.
    known = f"CASE WHEN typeof({name}) = 'text' THEN {name}"
    return f"{known} WHEN {name} IS NOT NULL THEN quote({name}) END"


class StoredText(ColumnForm[str]):
    """Column as text; on SQLite, a value of another type is returned as an SQL literal."""

    inherit_cache = True
    type = _Decoded()
    forms = Forms(
        postgresql=lambda name: f"CAST({name} AS TEXT)",
        sqlite=lambda name: f"CAST({_text_or_literal(name)} AS BLOB)",
    )


class StoredNumber(ColumnForm[int]):
    """Integer column; on SQLite, a value of another type is read as a number no trail reaches."""

    inherit_cache = True
    type = BigInteger()
    forms = Forms(
        postgresql=lambda name: name,
        sqlite=lambda name: f"CASE typeof({name}) WHEN 'integer' THEN {name} ELSE {_LARGEST} END",
    )


class IsCounted(ColumnForm[bool]):
    """Condition that the column holds an integer.

    On SQLite, tampering can put text there, which sorts after all numbers: it would appear to be
    the newest row.
    """

    inherit_cache = True
    type = Boolean()
    forms = Forms(
        postgresql=lambda _: "TRUE",  # no comparison, which the planner would take for selective
        sqlite=lambda name: f"typeof({name}) = 'integer'",
    )


def _utc_on_postgresql(name: str) -> str:
    form = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
    # to_char has no format for infinity.
    return f"coalesce(to_char({name} AT TIME ZONE 'UTC', {form}), CAST({name} AS text))"


class UtcText(ColumnForm[str]):
    """Timestamp column as text in the format of the body: UTC, microseconds, ``Z``."""

    inherit_cache = True
    type = _Decoded()
    forms = Forms(
        postgresql=_utc_on_postgresql,
        sqlite=lambda name: f"CAST(replace({_text_or_literal(name)}, ' ', 'T') || 'Z' AS BLOB)",
    )


def plain_text(column: Column[Any]) -> ColumnForm[str]:
    """Return a plain column of `audit_event` as the text that the body has for it."""
    return UtcText(column) if column.name == "occurred_at" else StoredText(column)


def stored_bytes(column: Column[Any]) -> Cast[bytes]:
    """Return a column as bytes, even if SQLite has text in it."""
    return cast(column, LargeBinary)
