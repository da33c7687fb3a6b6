"""Subjects of a trail: tables whose rows are objects or links between objects."""

from __future__ import annotations

from sqlalchemy import MetaData, Table

from auditspan.mapping.audited_table import AuditedTable, audited_table
from auditspan.mapping.catalog import tables_of
from auditspan.mapping.link_table import LinkTable, link_table
from auditspan.mapping.privacy import privacy_of

Subject = AuditedTable | LinkTable


def subject_of(table: Table) -> Subject | None:
    """Return how the rows of this table are recorded; None if they are not."""
    return audited_table(table) or link_table(table)


def has_erasable(metadata: MetaData) -> bool:
    """Return whether a policy, or the privacy of the trail, makes values erasable."""
    found = (audited_table(table) for table in tables_of(metadata))
    return bool(privacy_of(metadata).erasable) or any(one.is_erasable for one in found if one)


def types_of(metadata: MetaData) -> frozenset[str]:
    """Return the target types of the audited tables of this metadata."""
    audited = (audited_table(table) for table in tables_of(metadata))
    return frozenset(type_ for one in audited if one is not None for type_ in one.types)
