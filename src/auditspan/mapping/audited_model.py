"""Audited model: its recorded columns, and how each is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sqlalchemy import Column

from auditspan.format import Secrets

Represent: TypeAlias = Callable[[Any], str]
"""A function from a recorded value to its readable form."""


@dataclass(frozen=True, kw_only=True)
class AuditedColumn:
    """Column of an audited model."""

    name: str
    key: str
    column: Column[Any]
    redacted: bool
    secrets: Secrets
    """The rules for which of its values, or their members, are redacted."""
    ignored: bool
    erasable: bool = False
    represent: Represent | None = None

    def of(self, column: Column[Any]) -> AuditedColumn:
        """Return this column as it is in another table of the same object."""
        return self if column is self.column else replace(self, column=column, name=column.name)


@dataclass(frozen=True, kw_only=True)
class AuditedModel:
    """Mapped class with its recorded columns.

    Attributes:
        subject: the type of the subject of erasable values, and the column with its id; None if
            each row is its own subject.
    """

    type: str
    columns: tuple[AuditedColumn, ...]
    primary_key: tuple[str, ...]
    version_key: str | None
    subject: tuple[str, str] | None = None
