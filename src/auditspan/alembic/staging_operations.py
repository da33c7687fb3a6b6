"""Autogenerate proposals for the triggers that stage changes.

audit_change is created     its function, and the triggers of every audited table
an audited table is created its triggers
columns, unique keys or the policy change so that triggers differ
                            its triggers again: those of the models at the end of the upgrade,
                            those now in the database at the end of the downgrade
a table is dropped, or is no longer audited
                            its triggers are dropped first
"""

from __future__ import annotations

from dataclasses import dataclass

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    CreateTableOp,
    DropTableOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from sqlalchemy import Connection, inspect

from auditspan.alembic.trail_operations import TrailOperation, call
from auditspan.capture import busy, staged_tables, target_metadata
from auditspan.storage import STAGING
from auditspan.storage.triggers import TRIGGERS, StagedTable, triggered_tables


@dataclass(eq=False)
class TriggersOperation(MigrateOperation):
    """Operation on the triggers of one table.

    Args:
        table: the name of the table.
        schema: its schema.
        excluded: the columns that the triggers omit.
        staging_schema: the schema of `audit_change`.
    """

    table: str
    schema: str | None
    excluded: frozenset[str]
    staging_schema: str | None = None

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return the difference, for `alembic check`."""
        return (type(self).__name__, self.table)

    def like(self, kind: type[TriggersOperation]) -> TriggersOperation:
        """Return another operation on the same triggers."""
        return kind(self.table, self.schema, self.excluded, self.staging_schema)


class CreateTriggers(TriggersOperation):
    """Operation that creates triggers for a table without any."""

    def reverse(self) -> TriggersOperation:
        """Return the reverse operation."""
        return self.like(DropTriggers)


class DropTriggers(TriggersOperation):
    """Operation that drops triggers."""

    def reverse(self) -> TriggersOperation:
        """Return the reverse operation."""
        return self.like(CreateTriggers)


class ReplaceTriggers(TriggersOperation):
    """Operation that replaces triggers, at the end of a migration."""

    def reverse(self) -> TriggersOperation:
        """Return the reverse operation, which does nothing at the start of a downgrade."""
        return self.like(FormerTriggers)


class FormerTriggers(TriggersOperation):
    """Operation that does nothing at the start of a migration, but restores on downgrade."""

    def reverse(self) -> TriggersOperation:
        """Return the reverse operation, which restores triggers at the end of a downgrade."""
        return self.like(ReplaceTriggers)


@renderers.dispatch_for(CreateTriggers)
@renderers.dispatch_for(ReplaceTriggers)
def _render_create(context: AutogenContext, operation: TriggersOperation) -> str:
    return call(
        context,
        "create_triggers",
        operation.table,
        exclude=sorted(operation.excluded),
        schema=operation.schema,
        staging_schema=operation.staging_schema,
    )


@renderers.dispatch_for(DropTriggers)
def _render_drop(context: AutogenContext, operation: TriggersOperation) -> str:
    return call(context, "drop_triggers", operation.table, schema=operation.schema)


@renderers.dispatch_for(FormerTriggers)
def _render_nothing(_context: AutogenContext, _operation: TriggersOperation) -> list[str]:
    return []


def add_triggers(context: AutogenContext, upgrade: UpgradeOps) -> None:
    """Add operations on triggers to the operations on tables."""
    if context.connection is None:
        return
    proposal = _Proposal(connection=context.connection, upgrade=upgrade)
    metadatas = target_metadata({"target_metadata": context.metadata})
    for metadata in metadatas:
        for staged in staged_tables(metadata):
            proposal.require(staged)
    proposal.add_removals({key for metadata in metadatas for key in metadata.tables})
    upgrade.ops[:] = [*proposal.first, *upgrade.ops, *proposal.last]


class _Proposal:
    """Operations to run before and after those on tables."""

    def __init__(self, *, connection: Connection, upgrade: UpgradeOps) -> None:
        self._connection = connection
        self._found = {_key(one.schema, one.name): one for one in triggered_tables(connection)}
        self._made = {
            _key(one.schema, one.table_name)
            for one in upgrade.ops
            if isinstance(one, CreateTableOp)
        }
        self._gone = {
            _key(one.schema, one.table_name): one
            for one in upgrade.ops
            if isinstance(one, DropTableOp)
        }
        self._changed = {
            _key(one.schema, one.table_name)
            for one in upgrade.ops
            if isinstance(one, ModifyTableOps)
        }
        self._wanted: set[str] = set()
        self.first: list[MigrateOperation] = []
        self.last: list[MigrateOperation] = [
            TrailOperation("staging", STAGING, schema=one.schema)
            for one in upgrade.ops
            if isinstance(one, CreateTableOp) and one.table_name == STAGING
        ]

    def require(self, staged: StagedTable) -> None:
        """Add the operations that create or replace the triggers of a table."""
        table = staged.table
        self._wanted.add(table.key)
        wanted = CreateTriggers(table.name, table.schema, staged.excluded, staged.staging.schema)
        found = self._found.get(table.key)
        if found is None:
            if table.key in self._made or self._exists(staged):
                self.last.append(wanted)
        elif self._differs(staged):
            former = FormerTriggers(table.name, table.schema, found.excluded, staged.staging.schema)
            self.first.append(former)
            self.last.append(wanted.like(ReplaceTriggers))

    def add_removals(self, known: set[str]) -> None:
        """Add the operations that drop triggers of dropped or no longer audited tables."""
        for key, found in self._found.items():
            if key in self._gone or (key in known and key not in self._wanted):
                self.first.append(DropTriggers(found.name, found.schema, found.excluded))
        for one in self._gone.values():
            if one.table_name == STAGING:
                self.first.append(TrailOperation("staging", STAGING, schema=one.schema, drops=True))

    def _exists(self, staged: StagedTable) -> bool:
        return inspect(self._connection).has_table(staged.table.name, schema=staged.table.schema)

    def _differs(self, staged: StagedTable) -> bool:
        with busy(self._connection):
            of = TRIGGERS.of(self._connection)
            is_lost = not of.SURVIVES_ALTER and staged.table.key in self._changed
            return is_lost or bool(of.trigger_differences(self._connection, staged))


def _key(schema: str | None, name: str) -> str:
    return f"{schema}.{name}" if schema else name
