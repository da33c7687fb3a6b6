"""Append-only audit tables: triggers that refuse every change to an existing row.

Rows of `audit_event` can be removed where a sealed and delivered event `trail.purge` authorises it
(docs/adr/0020), and nowhere else.

They also bind the owner of the tables, which has all privileges. The only way around them is to
drop or disable a trigger: `auditspan.seal.guards` detects that, and `verify` detects the changes
made meanwhile. Statements that redefine a table (DROP, ALTER) fire no trigger on either database.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import DDL, Dialect, Table

from auditspan.storage.append_only import postgresql, sqlite
from auditspan.storage.append_only.trigger import RefusingTriggers, Trigger
from auditspan.storage.dialects import PerDialect
from auditspan.storage.table_ddl import TableDdl, ddl

_TRIGGERS = PerDialect[RefusingTriggers](postgresql=postgresql, sqlite=sqlite)


def append_only(table: Table) -> Table:
    """Create the triggers of this table whenever it is created, for example by `create_all`."""
    return TableDdl(create=_create, drop=_drop_functions).attach(table)


def triggers_of(table: Table, dialect: Dialect) -> list[Trigger]:
    """Return the triggers that this append-only table requires on this database."""
    return [
        Trigger(table=table, name=f"{table.name}_{suffix}", definition=definition)
        for suffix, definition in _TRIGGERS.of(dialect).definitions(table, dialect)
    ]


def creation(table: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that create the triggers of this table."""
    return ddl(_create(table, dialect))


def removal(table: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that drop the existing triggers of this table."""
    triggers = _TRIGGERS.of(dialect)
    drops = [triggers.drop_trigger(one, dialect) for one in triggers_of(table, dialect)]
    return ddl([*drops, *triggers.function_removal(table, dialect)])


def purge_removal(table: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that drop the functions of purges, after the triggers are dropped."""
    return ddl(_TRIGGERS.of(dialect).purge_removal(table, dialect))


def create_trigger(trigger: Trigger, dialect: Dialect) -> str:
    """Return the statement that creates this trigger."""
    return _TRIGGERS.of(dialect).create_trigger(trigger, dialect)


def _create(table: Table, dialect: Dialect) -> Sequence[str]:
    return _TRIGGERS.of(dialect).creation(table, triggers_of(table, dialect), dialect)


def _drop_functions(table: Table, dialect: Dialect) -> list[str]:
    of = _TRIGGERS.of(dialect)
    return [*of.function_removal(table, dialect), *of.purge_removal(table, dialect)]
