"""Choice of the triggers of a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect, Row, Table

from auditspan.storage.dialects import PerDialect
from auditspan.storage.triggers import postgresql, sqlite
from auditspan.storage.triggers.staged_table import StagedTable


class StagingTriggers(Protocol):
    """The triggers that stage the changes of audited tables, and the drain, on one database.

    Attributes:
        SURVIVES_ALTER: whether a migration that changes a table keeps its triggers.
    """

    SURVIVES_ALTER: bool

    def trigger_statements(self, staged: StagedTable, dialect: Dialect, /) -> Sequence[str]:
        """Return the statements that create or replace the triggers of one table."""

    def removal_statements(
        self, table: Table, dialect: Dialect, connection: Connection | None, /
    ) -> Sequence[str]:
        """Return the statements that drop the triggers of a table, and their unused functions."""

    def removal_after_drop(self, staged: StagedTable, dialect: Dialect, /) -> Sequence[str]:
        """Return the statements that remove what is left once the table is dropped."""

    def trigger_problems(self, connection: Connection, staged: StagedTable, /) -> Sequence[str]:
        """Return a sentence for each reason why writes to this table may not be staged."""

    def trigger_differences(self, connection: Connection, staged: StagedTable, /) -> Sequence[str]:
        """Return a sentence for each difference that recreating the triggers would repair."""

    def triggered_rows(self, connection: Connection, /) -> Sequence[Row[Any]]:
        """Return the `name`, `schema` and trigger `source` of every table with these triggers."""

    def staging_statements(self, staging: Table, dialect: Dialect, /) -> Sequence[str]:
        """Return the statements to run after creating the staging table and `audit_event`."""

    def staging_removal(self, staging: Table, dialect: Dialect, /) -> Sequence[str]:
        """Return the statements that drop the drain and the trigger of `audit_event`."""

    def drain_problems(self, connection: Connection, staging: Table, /) -> Sequence[str]:
        """Return a sentence for each problem with the drain and its trigger."""

    def pin_settings(self, connection: Connection, /) -> None:
        """Pin, for this transaction, the settings that the text of values depends on."""


TRIGGERS = PerDialect[StagingTriggers](postgresql=postgresql, sqlite=sqlite)
