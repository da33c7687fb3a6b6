"""The triggers of an audited table on PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Dialect

from auditspan.storage.triggers.postgresql_functions import Function, functions_of
from auditspan.storage.triggers.staged_table import StagedTable


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One trigger of an audited table.

    Attributes:
        name: its name, the same on every table.
        event: what CREATE TRIGGER says between the name and the table.
        rest: what it says between the table and the function.
        kind: `pg_trigger.tgtype`.
        condition: what `pg_get_triggerdef` shows of its WHEN clause.
    """

    name: str
    event: str
    rest: str
    kind: int
    condition: str | None = None

    @property
    def row(self) -> bool:
        """It fires for each row; PostgreSQL copies it to partitions."""
        return self.kind & 1 == 1

    def function(self, staged: StagedTable, dialect: Dialect) -> Function:
        """Return the function that it calls."""
        row, truncate = functions_of(staged, dialect)
        return row if self.row else truncate


RECORDED = "audit_event_recorded"
"""The trigger of `audit_event` that removes what was drained; for each statement, AFTER INSERT."""

TRIGGERS = (
    Trigger(name="00_auditspan_insert", event="AFTER INSERT", rest="FOR EACH ROW", kind=5),
    Trigger(
        name="00_auditspan_update",
        event="AFTER UPDATE",
        rest="FOR EACH ROW WHEN (OLD OPERATOR(pg_catalog.*<>) NEW)",
        kind=17,
        condition="old.* *<> new.*",
    ),
    Trigger(name="00_auditspan_delete", event="AFTER DELETE", rest="FOR EACH ROW", kind=9),
    Trigger(
        name="zz_auditspan_truncate",
        event="BEFORE TRUNCATE",
        rest="FOR EACH STATEMENT",
        kind=34,
    ),
)
