"""A model of the application as it is audited: which columns, and how each is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    Numeric,
    SmallInteger,
    Uuid,
)

from auditspan.redact import Secrets

_SCALARS = frozenset(
    {BigInteger, Boolean, Date, DateTime, Float, Integer, Numeric, SmallInteger, Uuid}
)
"""Types of columns that hold neither text nor members, one of which might be a secret."""


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
    defaulted: bool
    """An INSERT that does not mention it may give it a value; else it becomes NULL."""
    generated: bool
    """The flush itself may set it on UPDATE, past the attribute's history."""

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

    @cached_property
    def by_key(self) -> dict[str, AuditedColumn]:
        """The columns by attribute."""
        return {column.key: column for column in self.columns}

    @cached_property
    def by_name(self) -> dict[str, AuditedColumn]:
        """The columns by name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def ignored(self) -> frozenset[str]:
        """The names of the columns whose change alone leaves no row."""
        return frozenset(column.name for column in self.columns if column.ignored)

    @cached_property
    def veiled(self) -> frozenset[str]:
        """The names of the columns of which a body may not show every value as it is."""
        return frozenset(
            column.name
            for column in self.columns
            if column.redacted or type(column.column.type) not in _SCALARS
        )

    @cached_property
    def naming(self) -> tuple[str, ...]:
        """The attributes that say which object it is, and in which version."""
        return (*self.primary_key, *((self.version_key,) if self.version_key else ()))

    @cached_property
    def all_keys(self) -> tuple[str, ...]:
        """The attributes of which a create and a delete tell, and those that name the object."""
        return tuple(dict.fromkeys((*self.by_key, *self.naming)))

    @cached_property
    def generated(self) -> frozenset[str]:
        """The attributes that a flush itself may set on UPDATE."""
        return frozenset(column.key for column in self.columns if column.generated)

    @cached_property
    def undefaulted(self) -> frozenset[str]:
        """The attributes that are NULL where an INSERT does not mention them."""
        return frozenset(column.key for column in self.columns if not column.defaulted)
