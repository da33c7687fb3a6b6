"""Triggers of an audited table on PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Dialect

from auditspan.storage.triggers.postgresql_functions import Function, functions_of
from auditspan.storage.triggers.staged_table import StagedTable


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """Trigger of an audited table.

    Attributes:
        name: its name, the same on every table.
        event: the part of CREATE TRIGGER between the name and the table.
        rest: the part between the table and the function.
        kind: `pg_trigger.tgtype`.
        condition: its WHEN clause as shown by `pg_get_triggerdef`.
    """

    name: str
    event: str
    rest: str
    kind: int
    condition: str | None = None

    @property
    def row(self) -> bool:
        """True if the trigger fires for each row; PostgreSQL copies it to partitions."""
        return self.kind & 1 == 1

    def function(self, staged: StagedTable, dialect: Dialect) -> Function:
        """Return the function that the trigger calls."""
        row, truncate = functions_of(staged, dialect)
        return row if self.row else truncate


RECORDED = "audit_event_recorded"
"""The trigger of `audit_event` that removes drained rows; for each statement, AFTER INSERT."""

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
