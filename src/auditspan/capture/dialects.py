"""The part of capture that each database has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Table

from auditspan.capture import postgresql, sqlite
from auditspan.capture.staged_change import Preview, StagedChange
from auditspan.storage.dialects import PerDialect
from auditspan.storage.triggers import StagedTable


class CaptureDialect(Protocol):
    """Transactions of a database, and the changes staged in them.

    Attributes:
        KNOWS_TRANSACTIONS: whether a staged change carries the id of its transaction.
        FUNCTIONS_WRITE: whether a function that a SELECT calls can write.
    """

    KNOWS_TRANSACTIONS: bool
    FUNCTIONS_WRITE: bool

    def is_healthy(self, connection: Connection, /) -> bool:
        """Return whether the driver reports an open transaction that has not failed."""

    def is_autocommit(self, connection: Connection, /) -> bool:
        """Return whether every statement commits by itself; the worker records such changes."""

    def commits_by_itself(self, connection: Connection, /) -> bool:
        """Return whether the driver is set to leave transactions to the application."""

    def has_failed(self, connection: Connection, /) -> bool:
        """Return whether the database will answer COMMIT with a silent ROLLBACK."""

    def begin_before_savepoint(self, connection: Connection, /) -> None:
        """Begin the transaction that the driver has not begun yet."""

    def begin_to_write(self, connection: Connection, staging: Table, /) -> int | None:
        """Return the newest id that others have staged before this transaction; None if read-only.

        0 where other transactions cannot be mistaken for this one.
        """

    def position(self, connection: Connection, staging: Table, /) -> int:
        """Return a position after all changes staged so far, and not after any later one."""

    def new_change_id(self, connection: Connection, staging: Table, /) -> int:
        """Return a change id after all changes staged so far, and before any later one."""

    def drain(
        self, connection: Connection, staging: Table, preview: Preview, floor: int, /
    ) -> Iterator[list[StagedChange]]:
        """Take the staged changes of the running transaction, oldest first, in batches.

        Args:
            connection: the connection of the transaction.
            staging: the staging table.
            preview: if there are several batches, is called with all of them before the first is
                yielded.
            floor: the result of `begin_to_write`.
        """

    def row_place(self, staging: Table, /) -> ColumnElement[Any]:
        """Return the expression by which rows of the staging table are found fastest."""

    def has_deferred(self, connection: Connection, /) -> bool:
        """Return whether the database has deferrable triggers."""

    def has_drain(self, connection: Connection, schema: str | None, /) -> bool:
        """Return whether the drain exists, next to the staging table."""

    def standing_problems(self, connection: Connection, staged: StagedTable, /) -> Sequence[str]:
        """Return the problems with the triggers of a table that an application cannot repair."""


CAPTURE_DIALECTS = PerDialect[CaptureDialect](postgresql=postgresql, sqlite=sqlite)
