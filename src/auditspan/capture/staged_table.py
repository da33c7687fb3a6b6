"""A table whose rows are staged by triggers."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table


@dataclass(frozen=True, kw_only=True)
class StagedTable:
    """One audited table as its triggers see it.

    Attributes:
        table: the table of the application.
        staging: the `audit_change` table that its triggers write to.
        excluded: the names of the columns that never reach the staging table.
    """

    table: Table
    staging: Table
    excluded: frozenset[str] = frozenset()
