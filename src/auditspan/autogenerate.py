"""What Alembic's autogenerate writes for the audit tables: their types' import, and their guards.

Import it where migrations are generated: in `env.py`, or beside Flask-Migrate's `Migrate`.

    import auditspan.autogenerate  # noqa: F401

A generated migration that makes the audit tables then runs as it is, and the next one is empty.
"""

from __future__ import annotations

from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import CreateTableOp, MigrateOperation, UpgradeOps
from alembic.util import DispatchPriority, PriorityDispatchResult


class CreateGuards(MigrateOperation):
    """The guards of the audit tables, behind the tables."""

    def reverse(self) -> DropGuards:
        """The way back."""
        return DropGuards()


class DropGuards(MigrateOperation):
    """No guards any more, before the tables go."""

    def reverse(self) -> CreateGuards:
        """The way back."""
        return CreateGuards()


@renderers.dispatch_for(CreateGuards)
def _create(context: AutogenContext, _operation: CreateGuards) -> str:
    context.imports.add("import auditspan.alembic")
    return "auditspan.alembic.create_guards(op)"


@renderers.dispatch_for(DropGuards)
def _drop(context: AutogenContext, _operation: DropGuards) -> str:
    context.imports.add("import auditspan.alembic")
    return "auditspan.alembic.drop_guards(op)"


@comparators.dispatch_for("autogenerate", priority=DispatchPriority.LAST)
def _add_guards(context: AutogenContext, upgrade: UpgradeOps) -> PriorityDispatchResult:
    made = {one.table_name for one in upgrade.ops if isinstance(one, CreateTableOp)}
    if any(name.startswith("audit_") for name in made):
        context.imports.add("import auditspan.tables")
    if "audit_event" in made:
        upgrade.ops.append(CreateGuards())
    return PriorityDispatchResult.CONTINUE
