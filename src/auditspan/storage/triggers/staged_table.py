"""Table whose rows are staged by triggers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Table


@dataclass(frozen=True, kw_only=True)
class StagedTable:
    """Audited table as its triggers see it.

    Attributes:
        table: the table of the application.
        staging: the `audit_change` table that its triggers write to.
        excluded: the names of the columns that never reach the staging table.
        discriminator: the column whose update makes a row an object of another class.
        absent: the names of columns that the table does not have yet, or no longer, in a migration.
    """

    table: Table
    staging: Table
    excluded: frozenset[str] = frozenset()
    discriminator: str | None = None
    absent: frozenset[str] = frozenset()

    @property
    def columns(self) -> list[Column[Any]]:
        """The columns of the table in the database, sorted by name."""
        found = (column for column in self.table.columns if column.name not in self.absent)
        return sorted(found, key=lambda column: column.name)

    @property
    def note(self) -> str:
        """The comment in the source of triggers that lists the excluded columns."""
        if not self.excluded:
            return ""
        names = json.dumps(sorted(self.excluded)).replace("%", "\\u0025")
        return f"-- {_EXCLUDED}{names}\n"


_EXCLUDED = "auditspan leaves out: "


def excluded_in(source: str) -> frozenset[str]:
    """Parse the excluded columns from the comment `StagedTable.note`."""
    found = re.search(rf"^\s*-- {_EXCLUDED}(\[.*\])$", source, re.MULTILINE)
    return frozenset(json.loads(found[1])) if found else frozenset()
