"""Triggers of an append-only table, as each database defines them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Dialect, Table

from auditspan.storage.schemas import schema_in

PURGED = "audit_event"
"""The name of the table whose rows an authorised purge may remove."""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """Trigger of an append-only table.

    Attributes:
        table: its table.
        name: its name, unique in the schema.
        definition: the part of CREATE TRIGGER after the name.
    """

    table: Table
    name: str
    definition: str


class RefusingTriggers(Protocol):
    """The triggers of one database."""

    def definitions(self, table: Table, dialect: Dialect, /) -> Iterator[tuple[str, str]]:
        """Yield the end of the name and the definition of each trigger of a table."""

    def create_trigger(self, trigger: Trigger, dialect: Dialect, /) -> str:
        """Return the statement that creates a trigger."""

    def drop_trigger(self, trigger: Trigger, dialect: Dialect, /) -> str:
        """Return the statement that drops a trigger if it exists."""

    def creation(
        self, table: Table, triggers: Sequence[Trigger], dialect: Dialect, /
    ) -> Sequence[str]:
        """Return the statements that create all triggers of a table."""

    def function_removal(self, table: Table, dialect: Dialect, /) -> Sequence[str]:
        """Return the statements that drop the triggers' function unless it is still called."""

    def purge_removal(self, table: Table, dialect: Dialect, /) -> Sequence[str]:
        """Return the statements that drop what authorised purges require, after the triggers."""


def schema_prefix(table: Table, dialect: Dialect) -> str:
    """Return the quoted schema of a table and a period; empty for the default schema."""
    schema = schema_in(dialect, table)
    return f"{dialect.identifier_preparer.quote(schema)}." if schema else ""
