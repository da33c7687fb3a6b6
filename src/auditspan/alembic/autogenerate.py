"""Alembic autogenerate support for the audit tables: the import of their types, and guards.

Import it where migrations are generated: in `env.py`, or beside Flask-Migrate's `Migrate`.

    import auditspan.alembic.autogenerate  # noqa: F401

A generated migration that creates the audit tables then runs unchanged, and the next one is empty,
even when `audit_event` is partitioned, which metadata does not describe. Without this module,
Alembic would propose to drop the partitions.
"""

from __future__ import annotations

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    CreateIndexOp,
    CreateTableOp,
    DropIndexOp,
    DropTableOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Connection

from auditspan.alembic.staging_operations import add_triggers
from auditspan.alembic.trail_operations import TrailOperation
from auditspan.storage import PARTITIONS, TERM_INDEX

_OTHER_INDEXES = {"ix_audit_event_event_id", "ix_audit_leaf_event_id"}
"""On a partitioned table, the first belongs to each partition, and the second is not unique."""


@comparators.dispatch_for("autogenerate", priority=DispatchPriority.LAST)
def _add_guards(context: AutogenContext, upgrade: UpgradeOps) -> PriorityDispatchResult:
    created = [one for one in upgrade.ops if isinstance(one, CreateTableOp)]
    made = {one.table_name for one in created}
    for table in created:
        _leave_out_policy(table)
    if any(name.startswith("audit_") for name in made):
        context.imports.add("import auditspan.alembic")
    if "audit_event" in made:
        upgrade.ops.append(TrailOperation("guards", "audit_event"))
    elif "audit_subject_key" in made:
        upgrade.ops.append(TrailOperation("erasure", "audit_subject_key"))
    connection = context.connection
    if connection is not None:
        _leave_partitions(connection, upgrade)
    _leave_terms(upgrade)
    add_triggers(context, upgrade)
    return PriorityDispatchResult.CONTINUE


def _leave_out_policy(table: CreateTableOp) -> None:
    """Omit a `Policy` from the migration, which would not import it."""
    if not isinstance(table.info.get("audit", True), bool):
        table.info = {key: value for key, value in table.info.items() if key != "audit"}


def _leave_partitions(connection: Connection, upgrade: UpgradeOps) -> None:
    """Drop proposals about partitions, and about indexes that differ because of them."""
    found = PARTITIONS.of(connection).partitioned_relations(connection)
    whole = {one.schema for one in found if one.is_whole}
    parts = {(one.schema, one.name) for one in found if not one.is_whole}

    def is_otherwise(operation: MigrateOperation) -> bool:
        return (
            isinstance(operation, CreateIndexOp | DropIndexOp)
            and operation.index_name in _OTHER_INDEXES
            and _schema(connection, operation.schema) in whole
        )

    for table in list(upgrade.ops):
        if not isinstance(table, DropTableOp | ModifyTableOps):
            continue
        if isinstance(table, ModifyTableOps):
            table.ops[:] = [one for one in table.ops if not is_otherwise(one)]
        is_part = (_schema(connection, table.schema), table.table_name) in parts
        if is_part or (isinstance(table, ModifyTableOps) and not table.ops):
            upgrade.ops.remove(table)


def _leave_terms(upgrade: UpgradeOps) -> None:
    """Drop the proposal to drop the index of search terms, which metadata does not contain."""
    for table in [one for one in upgrade.ops if isinstance(one, ModifyTableOps)]:
        table.ops[:] = [
            one
            for one in table.ops
            if not (isinstance(one, DropIndexOp) and one.index_name == TERM_INDEX)
        ]
        if not table.ops:
            upgrade.ops.remove(table)


def _schema(connection: Connection, schema: str | None) -> str | None:
    """Return the schema, or None if it is the default schema."""
    return None if schema == connection.dialect.default_schema_name else schema
