"""A statement on an audited table that is about to run, and what is told of it when it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table

from auditspan.capture.cascades import Affected
from auditspan.capture.inserts import require_new
from auditspan.capture.pictures import RowChange, Subject
from auditspan.capture.rows import BATCH, Key, read_by_key
from auditspan.capture.writer import Capture
from auditspan.errors import UnauditedWriteError


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A write that has not run yet.

    Attributes:
        affected: the rows that it may change, as they were before it.
        races: whether it may meet rows that nobody could see beforehand.
        is_part: whether it is in a common table expression, of which there is no result.
        keys: of what it inserts, where it is such a part and an INSERT.
    """

    capture: Capture
    subject: Subject
    affected: Affected
    races: bool = False
    is_part: bool = False
    keys: Sequence[Key] | None = None

    def inserted(self, connection: Connection, keys: Sequence[Key]) -> Iterator[list[RowChange]]:
        """What an INSERT has made of rows that were there, and the rows that were not.

        Raises:
            UnauditedWriteError: it cannot be told.
        """
        met = set(self.affected.rows_of(self.subject).keys)
        yield from self.affected.changed(connection)
        fresh = [key for key in dict.fromkeys(keys) if key not in met]
        for start in range(0, len(fresh), BATCH):
            batch = fresh[start : start + BATCH]
            found = read_by_key(connection, self.subject, batch, self.capture.mac_key)
            if len(found) < len(batch):
                raise UnauditedWriteError(
                    f"an INSERT into {self.subject.table.name!r} was refused, because "
                    f"{len(batch) - len(found)} of its rows could not be found by their keys: "
                    "insert them through a session"
                )
            if self.races:
                require_new(connection, self.subject, batch)
            # In the order of the statement; a key that the database writes otherwise comes last.
            pictures = [found.pop(key) for key in batch if key in found] + list(found.values())
            yield list(self.subject.changes((None, picture) for picture in pictures))


def require_apart(statement: Sequence[Pending]) -> None:
    """Refuse a statement whose writes meet in a table: nobody could say which changed a row.

    Raises:
        UnauditedWriteError: they do.
    """
    met: set[Table] = set()
    for one in statement:
        tables = {one.subject.table, *one.affected.tables}
        if not met.isdisjoint(tables):
            names = ", ".join(sorted(repr(table.name) for table in met & tables))
            raise UnauditedWriteError(
                f"this statement was refused, because it writes to {names} in more than one of its "
                "parts: make each of them a statement of its own"
            )
        met |= tables
