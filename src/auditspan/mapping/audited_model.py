"""A model of the application as it is audited: which columns, and how each is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column

from auditspan.format import Secrets


@dataclass(frozen=True, kw_only=True)
class AuditedColumn:
    """One column of an audited model."""

    name: str
    key: str
    column: Column[Any]
    redacted: bool
    secrets: Secrets
    """Which of its values, or of their members, are redacted."""
    ignored: bool

    def of(self, column: Column[Any]) -> AuditedColumn:
        """The same as a column of another table of the same object."""
        return self if column is self.column else replace(self, column=column, name=column.name)


@dataclass(frozen=True, kw_only=True)
class AuditedModel:
    """A mapper and what is recorded of it."""

    type: str
    columns: tuple[AuditedColumn, ...]
    primary_key: tuple[str, ...]
    version_key: str | None
