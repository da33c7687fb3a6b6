"""What the trail tells of a table: of the objects in its rows, or of links between objects."""

from __future__ import annotations

from sqlalchemy import Table

from auditspan.mapping.audited_table import AuditedTable, audited_table
from auditspan.mapping.link_table import LinkTable, link_table

Subject = AuditedTable | LinkTable


def subject_of(table: Table) -> Subject | None:
    """What the trail tells of this table's rows; None where it tells nothing."""
    return audited_table(table) or link_table(table)
