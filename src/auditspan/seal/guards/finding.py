"""Problems that the guards find, and the part of the guards that each database has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, Dialect, Row, Table

from auditspan.storage import AuditTables, Trigger
from auditspan.storage.triggers import StagedTable

Kind = Literal["trigger", "foreign", "index", "role", "durability", "setting"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem with the database.

    Attributes:
        kind: the subject: a trigger of ours, something foreign on an audit table, an index, the
            connected role, durability, or a setting.
        detail: the problem and its remedy, in sentences.
    """

    kind: Kind
    detail: str

    @property
    def breaks_a_promise(self) -> bool:
        """True if writes must not be served with this problem; otherwise it is a warning."""
        return self.kind != "setting"


def unrecorded(problem: str) -> str:
    """Return the detail of a problem that keeps writes from being recorded."""
    return (
        f"Writes may go unrecorded: {problem}. As the owner of the tables, run "
        "`auditspan db guard`, or `auditspan.seal.guards.restore_guards` in your own application; "
        "find out who changed it, and run `auditspan verify --state`."
    )


class DialectGuards(Protocol):
    """The guards of one database."""

    def server_findings(self, connection: Connection, tables: AuditTables, /) -> Iterator[Finding]:
        """Yield the problems with roles, durability and settings."""

    def triggers_on(
        self, connection: Connection, table: Table, full_name: str, /
    ) -> dict[str, Row[Any]]:
        """Return every trigger of this table or partition, by its name."""

    def trigger_state(self, trigger: Trigger, row: Row[Any], dialect: Dialect, /) -> str | None:
        """Return the problem with a trigger, as a predicate; None if there is none."""

    def interference(self, connection: Connection, full_name: str, /) -> Sequence[str]:
        """Return what else could drop or hide rows of a table or partition."""

    def invalid_indexes(self, connection: Connection, table: Table, /) -> Sequence[str]:
        """Return the names of indexes that exist, but are not used or incomplete."""

    def staging_findings(
        self,
        connection: Connection,
        staging: Table,
        tables: AuditTables,
        staged: Sequence[StagedTable],
        /,
    ) -> Iterator[Finding]:
        """Yield the problems with the staging table, and with the role's rights on it."""
