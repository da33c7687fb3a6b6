"""Counted rows, of an `unaudited` block or a migration, which are not recorded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from auditspan.capture.migration import ACTION
from auditspan.capture.row_change import RowChange
from auditspan.format import Json, Target


@dataclass(kw_only=True)
class CountedRows:
    """Rows of one table that were written in one way.

    Attributes:
        types: the target types of the table; none if the models no longer have it.
        change_id: the last of their staged changes.
    """

    table: str
    types: list[str]
    operation: str
    is_migration: bool
    rows: int = 0
    change_id: int = 0

    def changes(self) -> Iterator[RowChange]:
        """Yield one change for each type that the table may hold; for a migration, only one."""
        details: dict[str, Json] = {"statement": self.operation, "rows": self.rows}
        if self.is_migration:
            type_ = next(iter(self.types), self.table)
            yield self._change(type_, {**details, "table": self.table})._replace(
                action=ACTION, change_id=None
            )
        else:
            yield from (self._change(type_, details) for type_ in self.types)

    def _change(self, type_: str, details: dict[str, Json]) -> RowChange:
        return RowChange(
            verb="statement",
            target=Target(type=type_, id=None),
            changes={},
            change_id=self.change_id,
            metadata=details,
        )
