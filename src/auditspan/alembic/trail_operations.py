"""Autogenerate operations on the objects that the library creates beside the audit tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation


@dataclass(eq=False)
class TrailOperation(MigrateOperation):
    """Operation that creates objects after the tables, or drops them before.

    Args:
        objects: the objects, as the functions of `auditspan.alembic` name them: "guards".
        table: the audit table that they belong to.
        schema: the schema of the table.
        drops: whether the objects are dropped.
    """

    objects: str
    table: str
    schema: str | None = None
    drops: bool = False

    def reverse(self) -> TrailOperation:
        """Return the reverse operation."""
        return replace(self, drops=not self.drops)

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return the difference, for `alembic check`."""
        return (f"{'remove' if self.drops else 'add'}_{self.objects}", self.table)


@renderers.dispatch_for(TrailOperation)
def _render(context: AutogenContext, operation: TrailOperation) -> str:
    verb = "drop" if operation.drops else "create"
    return call(context, f"{verb}_{operation.objects}", schema=operation.schema)


def call(context: AutogenContext, name: str, *arguments: str, **options: object) -> str:
    """Return the call of a function of `auditspan.alembic`, and import it."""
    context.imports.add("import auditspan.alembic")
    given = [f"{key}={value!r}" for key, value in options.items() if value]
    return f"auditspan.alembic.{name}({', '.join(['op', *map(repr, arguments), *given])})"
