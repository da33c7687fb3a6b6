"""Subjects of a trail: tables whose rows are objects or links between objects."""

from __future__ import annotations

from sqlalchemy import Table

from auditspan.mapping.audited_table import AuditedTable, audited_table
from auditspan.mapping.link_table import LinkTable, link_table

Subject = AuditedTable | LinkTable


def subject_of(table: Table) -> Subject | None:
    """Return how the rows of this table are recorded; None if they are not."""
    return audited_table(table) or link_table(table)
