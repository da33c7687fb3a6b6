"""Migrations by Alembic, whose writes are counted.

A migration works on the tables as they were, and the models describe them as they will be. So the
writes of a revision are recorded as one `migration.statement` for each table and operation. Before
the audit tables exist, nothing is recorded and nothing is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, MetaData, Table, inspect

from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.open_transaction import OpenTransaction, open_transaction
from auditspan.capture.origin import Origin
from auditspan.format import Actor
from auditspan.storage import STAGING

ACTION = "migration.statement"
"""The action that is recorded for writes of a migration."""

ACTOR = Actor.system("alembic")
"""The actor of a migration that sets none itself."""

_by_row: ContextVar[bool] = ContextVar("auditspan_migrated_rows", default=False)


@contextmanager
def record_rows() -> Iterator[None]:
    """Record the writes of a migration inside the block row by row, and not as counts.

    Only values of columns that the models have are recorded.
    """
    token = _by_row.set(True)
    try:
        yield
    finally:
        _by_row.reset(token)


def migrated_metadata(connection: Connection) -> tuple[MetaData, ...] | None:
    """Return the target metadata of the migration on this connection; None if none runs."""
    alembic: Any = sys.modules.get("alembic.context")
    if alembic is None:
        return None
    with suppress(Exception):  # outside an environment, or before its `configure`
        context = alembic.get_context()
        return target_metadata(context.opts) if context.bind is connection else None
    return None


def is_migrated(connection: Connection, transaction: OpenTransaction) -> bool:
    """Return whether Alembic migrates on this connection, as found at the first call.

    The check costs 20 microseconds, and most programs that import Alembic do not migrate.
    """
    if transaction.is_migrated is None:
        transaction.is_migrated = migrated_metadata(connection) is not None
    return transaction.is_migrated


def target_metadata(options: Mapping[str, Any]) -> tuple[MetaData, ...]:
    """Return the target metadata, one or several, from the options of Alembic's context."""
    given = options.get("target_metadata") or ()
    return (given,) if isinstance(given, MetaData) else tuple(given)


def migrated_origin(origin: Origin) -> Origin:
    """Return the origin of a write in a migration, with an actor."""
    return origin._replace(actor=origin.actor or ACTOR, is_migration=not _by_row.get())


def can_record(connection: Connection, event: Table) -> bool:
    """Return whether the audit tables exist, in the middle of a migration."""
    known = open_transaction(connection).can_record
    if event.schema not in known:
        looking = inspect(connection)
        is_there = event.schema is None or event.schema in looking.get_schema_names()
        names = looking.get_table_names(schema=event.schema) if is_there else ()
        has_tables = {event.name, STAGING} <= set(names)
        has_drain = CAPTURE_DIALECTS.of(connection).has_drain
        known[event.schema] = has_tables and has_drain(connection, event.schema)
    return known[event.schema]
