"""The rows that a statement may change: read before it, and again by their keys after it.

What is gone then was deleted, what differs was updated. Only pictures wait meanwhile, in memory up
to a few megabytes and in an unnamed file beyond.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import Any
from weakref import finalize

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, text, tuple_

from auditspan.capture.pictures import Picture, RowChange, Subject
from auditspan.mac import MacKey

Key = tuple[Any, ...]

BATCH = 1000
"""Rows that are read, compared and recorded at once."""

_IN_MEMORY = 4 * 1024 * 1024


@dataclass(kw_only=True, eq=False)
class Candidates:
    """The rows of one table that a statement may change, as they were before it.

    Attributes:
        keys: their keys.
        later: where the statement may change keys, those that they will have.
    """

    subject: Subject
    mac_key: MacKey | None
    keys: list[Key] = field(default_factory=list)
    later: list[Key] = field(default_factory=list)
    _known: set[Key] = field(default_factory=set)
    _waiting: SpooledTemporaryFile[bytes] = field(
        default_factory=lambda: SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
    )

    def __post_init__(self) -> None:
        """See that the file is closed also when the statement fails."""
        finalize(self, self._waiting.close)

    def know(self, keys: Iterable[Key]) -> None:
        """Leave out the rows with these keys."""
        self._known.update(keys)

    def read(self, connection: Connection, statement: Select[Any], width: int = 0) -> None:
        """Take the rows of a SELECT as the subject makes it, with `width` columns of later keys."""
        size = len(self.subject.key)
        for row in connection.execute(statement.execution_options(yield_per=BATCH)):
            key = tuple(row[:size])
            if key not in self._known:  # UPDATE … FROM finds a row once for each of its partners
                self._known.add(key)
                self.keys.append(key)
                if width:
                    self.later.append(tuple(row[-width:]))
                picture = self.subject.picture(row[: len(row) - width], self.mac_key)
                self._waiting.write(json.dumps(picture).encode() + b"\n")

    def changed(self, connection: Connection) -> Iterator[list[RowChange]]:
        """What has become of the rows, in batches. MUST be called once, after the statement."""
        self._waiting.seek(0)
        after = self.later or self.keys
        for start in range(0, len(after), BATCH):
            keys = after[start : start + BATCH]
            found = read_by_key(connection, self.subject, keys, self.mac_key)
            olds = [Picture(*json.loads(self._waiting.readline())) for _ in keys]
            pairs = [(old, found.get(key)) for old, key in zip(olds, keys, strict=True)]
            yield list(self.subject.changes(pairs))
        self._waiting.close()


def read_by_key(
    connection: Connection, subject: Subject, keys: Sequence[Key], mac_key: MacKey | None
) -> dict[Key, Picture]:
    """The rows with these keys as they are now; at most `BATCH` keys."""
    size = len(subject.key)
    rows = connection.execute(subject.select().where(has_key(subject.key, keys)))
    return {tuple(row[:size]): subject.picture(row, mac_key) for row in rows}


def lock_table(connection: Connection, table: Table) -> None:
    """Keep other writers out of a table of PostgreSQL until this transaction ends."""
    name = connection.dialect.identifier_preparer.format_table(table)
    connection.execute(text(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))


def has_key(columns: Sequence[Column[Any]], keys: Iterable[Key]) -> ColumnElement[bool]:
    """A row has one of these keys."""
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return tuple_(*columns).in_(list(keys))
