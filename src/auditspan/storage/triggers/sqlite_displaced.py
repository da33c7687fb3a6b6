"""Rows displaced by REPLACE on SQLite, for which no DELETE trigger fires.

With `recursive_triggers` one would fire, but the application's own triggers would recurse. Instead,
a BEFORE trigger stages each row that shares a unique key with the new one as a candidate, and the
AFTER trigger stages a DELETE for the candidates that no longer exist.

A candidate is a row of the staging table whose id is below zero. The drain MUST ignore candidates,
and may delete them. A candidate remains if no row was displaced (OR IGNORE, ON CONFLICT): the
triggers keep it in sync with its row, and about 16 are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, ColumnElement, Dialect, Index, Table, UniqueConstraint
from sqlalchemy import literal_column as verbatim
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from auditspan.storage.triggers.sqlite_images import differs, image, image_of, quoted, string
from auditspan.storage.triggers.staged_table import StagedTable

CANDIDATE = "CANDIDATE"
"""The operation of a candidate; its id is below zero."""

_KEPT = 16
"""The number of newest candidates that are kept; rows in progress need far fewer."""

_ROWID_NAMES = ("rowid", "_rowid_", "oid")


class DisplacedRows:
    """Parts of one table's triggers that stage rows displaced by REPLACE.

    Args:
        staged: the table.
        dialect: the dialect that quotes names.
    """

    def __init__(self, staged: StagedTable, dialect: Dialect) -> None:
        self._staged = staged
        self._dialect = dialect
        self._name = quoted(staged.table.name, dialect)
        self._staging = quoted(staged.staging.name, dialect)
        self._own = f"id<0 AND table_name={string(staged.table.name)}"
        self._rowid = _rowid(staged.table)
        self._conflict = " OR ".join(_conflicts(staged, self._name, dialect))

    def __bool__(self) -> bool:
        """Return True if the table has a unique key."""
        return bool(self._conflict)

    def before(self, verb: str) -> str:
        """Return the WHEN clause of a BEFORE trigger and the statements that add candidates."""
        conflict, changed = self._conflict, ""
        if verb == "UPDATE":
            conflict = f"({conflict}) AND {self._key(self._name)}<>{self._key('OLD')}"
            changed = f"({self._key_changes()}) AND "
        found = f"FROM {self._name} WHERE {conflict}"
        return (
            f"WHEN {changed}({self._pending()}EXISTS (SELECT 1 {found})) BEGIN\n"
            f"{self._forget(f'SELECT {self._key(self._name)} {found}')}"
            f"{self._candidates(conflict)}END"
        )

    def after(self, verb: str) -> str:
        """Return the WHEN clause of an AFTER trigger and the statements that stage displaced rows.

        Without the clause, SQLite would prepare for displaced rows at every write, because it
        copies the rows of an INSERT that reads its own table: that takes as long as the image.
        """
        gone, changed = self._gone(), ""
        if verb == "UPDATE":
            gone = f"new<>{self._key('OLD')} AND ({gone})"
            changed = f"({self._key_changes()}) AND "
        return f"WHEN {changed}{self._has_candidates()} BEGIN\n{self._settle(gone)}END"

    def follow_update(self) -> str:
        """Return the statement that updates a candidate after its row is staged."""
        if not self:
            return ""
        last = f"id=(SELECT max(id) FROM {self._staging}) AND operation='UPDATE'"
        return (
            f"UPDATE {self._staging} SET new={self._key('NEW')}, old=coalesce((SELECT s.new FROM"
            f" {self._staging} s WHERE s.{last} AND s.table_name={self._staging}.table_name"
            f" AND s.old={self._staging}.old), old)"
            f" WHERE {self._own} AND new={self._key('OLD')};\n"
        )

    def follow_delete(self) -> str:
        """Return the statement that removes a candidate whose row was deleted."""
        if not self:
            return ""
        return f"DELETE FROM {self._staging} WHERE {self._own} AND new={self._key('OLD')};\n"

    def _key(self, alias: str) -> str:
        """Return SQL for the identity of a row: its rowid, or the image of its primary key."""
        if self._rowid:
            return f"CAST({alias}.{self._rowid} AS TEXT)"
        names = [column.name for column in self._staged.table.primary_key]
        return image_of(names, alias, self._dialect)

    def _key_changes(self) -> str:
        return differs(_key_columns(self._staged), self._dialect)

    def _pending(self) -> str:
        """Return the condition that candidates may need removal, for tables without a rowid."""
        return "" if self._rowid else f"{self._has_candidates()} OR "

    def _has_candidates(self) -> str:
        return f"EXISTS (SELECT 1 FROM {self._staging} WHERE id<0)"

    def _forget(self, found: str) -> str:
        """Return the statements that remove excess candidates and those to be staged again."""
        again = f"new IN ({found})" + ("" if self._rowid else f" OR role={self._key('NEW')}")
        return (
            f"DELETE FROM {self._staging} WHERE id<0 AND id>={_KEPT - 1}+"
            f"(SELECT min(id) FROM {self._staging});\n"
            f"DELETE FROM {self._staging} WHERE {self._own} AND ({again});\n"
        )

    def _candidates(self, conflict: str) -> str:
        staged, role = self._staged, "NULL" if self._rowid else self._key("NEW")
        return (
            f"INSERT INTO {self._staging} (id, table_name, operation, old, new, role, position)"
            f" SELECT coalesce((SELECT min(id) FROM {self._staging} WHERE id<0),0)"
            f"-row_number() OVER (), {string(staged.table.name)}, '{CANDIDATE}',"
            f" {image(staged, self._name, self._dialect)}, {self._key(self._name)}, {role},"
            f" total_changes() FROM {self._name} WHERE {conflict};\n"
        )

    def _gone(self) -> str:
        """Return the condition that the row of a candidate is no longer in the table.

        A row cannot be looked up by the image of its primary key. Without a rowid, the search is
        therefore limited to rows that share a key with NEW, and to candidates added for NEW.
        """
        found = f"SELECT 1 FROM {self._name} WHERE "
        if self._rowid:
            there = f"{found}{self._rowid}=CAST({self._staging}.new AS INTEGER)"
            return f"new={self._key('NEW')} OR NOT EXISTS ({there})"
        there = f"{found}({self._conflict}) AND {self._key(self._name)}={self._staging}.new"
        new = self._key("NEW")
        return f"new={new} OR role={new} AND NOT EXISTS ({there})"

    def _settle(self, gone: str) -> str:
        chosen = f"FROM {self._staging} WHERE {self._own} AND ({gone})"
        return (
            f"INSERT INTO {self._staging} (table_name, operation, old, position)"
            f" SELECT table_name, 'DELETE', old, total_changes() {chosen} ORDER BY id DESC;\n"
            f"DELETE {chosen};\n"
        )


def unreadable_keys(table: Table) -> list[str]:
    """Return the names of unique indexes that use SQL text, which the triggers do not support."""
    return sorted(
        str(index.name) for index in table.indexes if index.unique and _has_sql_text(index)
    )


def _has_sql_text(index: Index) -> bool:
    parts = [*index.expressions, _where(index)]
    return any(
        isinstance(part, str) or any(isinstance(e, TextClause) for e in iterate(part))
        for part in parts
    )


def _rowid(table: Table) -> str | None:
    """Return a name of the hidden rowid; None if the table has none or columns hide it."""
    names = {column.name.lower() for column in table.columns}
    if not table.dialect_options["sqlite"]["with_rowid"] and table.primary_key:
        return None
    return next((name for name in _ROWID_NAMES if name not in names), None)


Key = tuple[list[ColumnElement[Any]], ColumnElement[Any] | None]
"""The expressions of a unique key, and the predicate of a partial index."""


def _keys(staged: StagedTable) -> Iterator[Key]:
    """Yield every unique key whose columns exist."""
    for parts, where in _declared_keys(staged.table):
        names = {e.name for part in (*parts, where) for e in _columns_in(part)}
        if not names & staged.absent:
            yield parts, where


def _columns_in(part: ColumnElement[Any] | None) -> Iterator[Column[Any]]:
    return (e for e in iterate(part) if isinstance(e, Column))


def _declared_keys(table: Table) -> Iterator[Key]:
    if table.primary_key.columns:
        yield list(table.primary_key.columns), None
    uniques = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    for names in sorted([c.name for c in unique.columns] for unique in uniques):
        yield [table_column(table, name) for name in names], None
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.unique and not _has_sql_text(index):
            yield [e for e in index.expressions if not isinstance(e, str)], _where(index)


def table_column(table: Table, name: str) -> Column[Any]:
    """Return the column with this name in the database, regardless of its key in Python."""
    return next(column for column in table.columns if column.name == name)


def _where(index: Index) -> ColumnElement[Any] | None:
    where: ColumnElement[Any] | None = index.dialect_options["sqlite"]["where"]
    return where


def _conflicts(staged: StagedTable, name: str, dialect: Dialect) -> Iterator[str]:
    """Yield, for each unique key, the condition that a row of the table shares it with NEW."""
    for expressions, where in _keys(staged):
        terms = [
            f"{_sql(part, name, dialect)}={_sql(part, 'NEW', dialect)}" for part in expressions
        ]
        if where is not None:
            terms += [_sql(where, name, dialect), _sql(where, "NEW", dialect)]
        yield f"({' AND '.join(terms)})"


def _key_columns(staged: StagedTable) -> list[str]:
    """Return the names of the columns that any unique key depends on."""
    parts = [part for parts, where in _keys(staged) for part in (*parts, where)]
    names = {e.name for part in parts for e in _columns_in(part)}
    return [column.name for column in staged.columns if column.name in names]


def _sql(expression: ColumnElement[Any], alias: str, dialect: Dialect) -> str:
    """Compile an expression over the table's columns for the row with this alias."""

    def replace(element: object, **_: object) -> ColumnElement[Any] | None:
        if isinstance(element, Column):
            return verbatim(f"{alias}.{quoted(element.name, dialect)}", element.type)
        return None

    row = replacement_traverse(expression, {}, replace)
    return f"({row.compile(dialect=dialect, compile_kwargs={'literal_binds': True})})"
