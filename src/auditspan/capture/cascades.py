"""What the database changes by itself: ON DELETE and ON UPDATE, followed along the foreign keys.

The rows that a cascade may reach are read before the statement like those that it names; what has
become of them is seen after it. So nothing is told of a cascade that the database does not perform,
as SQLite with `foreign_keys` off.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ForeignKeyConstraint,
    Select,
    Table,
    select,
    tuple_,
)

from auditspan.capture.pictures import RowChange, Subject
from auditspan.capture.rows import BATCH, Candidates, Key, has_key
from auditspan.capture.subjects import silent, subject_of
from auditspan.errors import UnauditedWriteError
from auditspan.mac import MacKey

_ACTIONS = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


@dataclass(kw_only=True, eq=False)
class Affected:
    """The rows that one statement may change, in its own table and in those behind it.

    Attributes:
        named: how many of them the statement itself is about.
    """

    connection: Connection
    mac_key: MacKey | None
    named: int = 0
    _by_table: dict[Table, Candidates] = field(default_factory=dict)

    @property
    def tables(self) -> Collection[Table]:
        """The tables in which they are."""
        return self._by_table.keys()

    def rows_of(self, subject: Subject) -> Candidates:
        """The candidates in one table."""
        if subject.table not in self._by_table:
            self._by_table[subject.table] = Candidates(subject=subject, mac_key=self.mac_key)
        return self._by_table[subject.table]

    def follow_from(
        self, subject: Subject, keys: Sequence[Key], touched: Collection[Column[Any]] | None
    ) -> None:
        """Add what the database will change when rows change that somebody else tells of."""
        rows = self.rows_of(subject)
        rows.know(keys)
        for start in range(0, len(keys), BATCH):  # locked: a new child would go with them unseen
            own = has_key(subject.key, keys[start : start + BATCH])
            self.connection.execute(select(*subject.key).where(own).with_for_update()).all()
        self.follow(rows, keys, touched)

    def follow(
        self, rows: Candidates, keys: Sequence[Key], touched: Collection[Column[Any]] | None
    ) -> None:
        """Add what the database will change when these rows change.

        Args:
            rows: the candidates of their table.
            keys: those of their keys that are meant.
            touched: the columns that are updated; None where the rows are deleted.
        """
        for constraint in dependents(rows.subject.table, touched):
            child = self.rows_of(subject_of(constraint.table) or silent(constraint.table))
            known = len(child.keys)
            for start in range(0, len(keys), BATCH):
                batch = keys[start : start + BATCH]
                child.read(
                    self.connection, _children(child.subject, constraint, rows.subject, batch)
                )
            reached = child.keys[known:]
            if reached:
                changed = _touched(constraint, touched)
                _require_kept_keys(child.subject, changed)
                self.follow(child, reached, changed)

    def changed(self, connection: Connection) -> Iterator[list[RowChange]]:
        """What has become of the rows, in batches; those that a cascade reached come first."""
        for rows in reversed(self._by_table.values()):
            yield from rows.changed(connection)


def dependents(table: Table, touched: Collection[Column[Any]] | None) -> list[ForeignKeyConstraint]:
    """The foreign keys by which the database changes other rows when rows of this table change."""
    return [
        constraint
        for child in table.metadata.tables.values()
        for constraint in child.foreign_key_constraints
        if _acts(constraint, table, touched) and _matters(constraint)
    ]


def taken_along(table: Table, *, truncated: bool = False) -> list[Subject]:
    """The audited tables of which rows can go, or change, when rows of this one are deleted."""
    seen, waiting = {table}, [table]
    while waiting:
        parent = waiting.pop()
        for child in table.metadata.tables.values():
            keys = [c for c in child.foreign_key_constraints if c.referred_table is parent]
            acts = any((key.ondelete or "").upper() in _ACTIONS for key in keys)
            if child not in seen and (acts or (truncated and keys)):
                seen.add(child)
                waiting.append(child)
    found = [subject for one in seen - {table} if (subject := subject_of(one)) is not None]
    return sorted(found, key=lambda subject: subject.table.name)


def _acts(
    constraint: ForeignKeyConstraint, table: Table, touched: Collection[Column[Any]] | None
) -> bool:
    if constraint.referred_table is not table:
        return False
    action = constraint.ondelete if touched is None else constraint.onupdate
    if action is None or action.upper() not in _ACTIONS:
        return False
    return touched is None or any(e.column in touched for e in constraint.elements)


def _matters(constraint: ForeignKeyConstraint) -> bool:
    """Whether an audited row can be reached: here, or by what a deletion here takes with it."""
    seen: set[Table] = set()
    waiting = [constraint.table]
    while waiting:
        table = waiting.pop()
        if subject_of(table) is not None:
            return True
        seen.add(table)
        waiting += [
            child
            for child in table.metadata.tables.values()
            if child not in seen
            and any(c.referred_table is table for c in child.foreign_key_constraints)
        ]
    return False


def _touched(
    constraint: ForeignKeyConstraint, touched: Collection[Column[Any]] | None
) -> Collection[Column[Any]] | None:
    if touched is None and (constraint.ondelete or "").upper() == "CASCADE":
        return None
    return set(constraint.columns)


def _require_kept_keys(subject: Subject, changed: Collection[Column[Any]] | None) -> None:
    """Refuse a cascade that gives rows another key, by which they could not be found again.

    Raises:
        UnauditedWriteError: it does.
    """
    if subject.types and changed is not None and not set(changed).isdisjoint(subject.key):
        raise UnauditedWriteError(
            f"this change was refused, because the database would change keys of "
            f"{subject.table.name!r} with it, which is audited: move those rows first, by "
            "statements or objects of their own"
        )


def _children(
    child: Subject, constraint: ForeignKeyConstraint, parent: Subject, keys: Sequence[Key]
) -> Select[tuple[object, ...]]:
    statement = child.select().where(_refers_to(constraint, parent, keys)).order_by(*child.key)
    return statement.with_for_update(of=child.table)  # nobody may add to what they take along


def _refers_to(
    constraint: ForeignKeyConstraint, parent: Subject, keys: Sequence[Key]
) -> ColumnElement[bool]:
    own = list(constraint.columns)
    referred = [element.column for element in constraint.elements]
    if referred == list(parent.key):
        return has_key(own, keys)
    values = select(*referred).where(has_key(parent.key, keys)).correlate(None)
    return (own[0] if len(own) == 1 else tuple_(*own)).in_(values)
