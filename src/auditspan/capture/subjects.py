"""The audited table or link table behind whatever a statement names as its table."""

from __future__ import annotations

from sqlalchemy import FromClause, Table

from auditspan.capture.audited import AuditedTable, audited_table
from auditspan.capture.links import link_table
from auditspan.capture.pictures import Subject
from auditspan.errors import UnauditedWriteError


def subject_of(table: Table) -> Subject | None:
    """What the trail tells of this table's rows; None where it tells nothing."""
    return audited_table(table) or link_table(table)


def silent(table: Table) -> Subject:
    """A table of which nothing is told, but whose rows may take others with them."""
    key = tuple(table.primary_key) or tuple(table.columns)
    return AuditedTable(table=table, key=key, kinds={}, default=None)


def table_of(target: FromClause) -> Table | None:
    """The table that an INSERT, UPDATE or DELETE names; None where it names no table.

    Raises:
        UnauditedWriteError: it names an alias of an audited table, or a join with one.
    """
    if isinstance(target, Table):
        return target.metadata.tables.get(target.key, target)  # the ORM names annotated copies
    for part in target._from_objects:  # noqa: SLF001 (the tables in a join or an alias)
        inner = getattr(part, "element", part)
        table = table_of(inner) if isinstance(inner, Table) else None
        if table is not None and subject_of(table) is not None:
            raise UnauditedWriteError(
                f"this statement was refused, because it writes to {table.name!r}, which is "
                "audited, through an alias or a join: name the table itself"
            )
    return None
