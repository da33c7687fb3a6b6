"""Changes that were recorded late, and must not outlive what replaced them.

The worker records what other programs wrote, if it was stopped only after later changes of the same
object. If such a late change stayed when the later one is removed, a replay would end with the
older values. So a purge ends before the later one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from auditspan.storage import AuditTables, IsCounted
from auditspan.verify.state import ChangeId


def first_superseded(connection: Connection, tables: AuditTables, size: int) -> int | None:
    """Return the first of these leaves that is newer than a remaining change of its target."""
    gone: Any = tables.event.alias("gone").c
    leaf: Any = tables.leaf.alias("gone_leaf").c
    kept_table, rest_table = tables.event.alias("kept"), tables.leaf.alias("kept_leaf")
    kept: Any = kept_table.c
    rest: Any = rest_table.c
    newest = connection.scalar(
        select(func.max(ChangeId(gone.body))).where(
            gone.id == leaf.row_id, leaf.seq < size, IsCounted(leaf.seq)
        )
    )
    if newest is None:
        return None
    late = (
        select(kept.target_type, kept.target_id, ChangeId(kept.body).label("change_id"))
        .select_from(kept_table.outerjoin(rest_table, rest.row_id == kept.id))
        .where(rest.seq.is_(None) | (rest.seq >= size), ChangeId(kept.body) < newest)
        .subquery()
        .c
    )
    return connection.scalar(
        select(func.min(leaf.seq)).where(
            gone.id == leaf.row_id,
            leaf.seq < size,
            gone.target_type == late.target_type,
            gone.target_id == late.target_id,
            ChangeId(gone.body) > late.change_id,
        )
    )
