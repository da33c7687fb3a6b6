"""Notes of the origin of each write, taken before it runs."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, Dialect, Table

from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.migrating import acting, can_record, is_counted, restore_triggers
from auditspan.capture.open_transaction import (
    Origin,
    is_read_only,
    open_transaction,
)
from auditspan.capture.recorder import missing_actor
from auditspan.capture.triggers import create_triggers, has_triggers, is_of_others, staged_tables
from auditspan.capture.unaudited import unaudited_reason
from auditspan.capture.writer import Capture, captures_of
from auditspan.errors import AuditConfigError, AuditWriteError, UnauditedWriteError
from auditspan.mapping import subject_of, table_named
from auditspan.storage import staging_of
from auditspan.storage.dialects import require_supported


def require_known(table: Table, captures: list[Capture]) -> None:
    """Refuse a write to an audited table that no trail of this engine knows.

    Raises:
        UnauditedWriteError: no trail of this engine knows the table.
    """
    known = (table_named(capture.metadata, table.key) for capture in captures)
    if not any(found is not None and subject_of(found) is not None for found in known):
        raise UnauditedWriteError(
            f"a write to {table.name!r} was refused: the table is audited, but no trail over this "
            "engine knows it, so no trigger would record the write: create an AuditTrail over the "
            "metadata of its declarative base"
        )


class Watched(NamedTuple):
    """A table that is written to, and a trail for which triggers stage what is written.

    Attributes:
        staging: the staging table of this trail.
        table: the audited table; None for raw SQL and for a table that is not audited, whose own
            triggers may write to one that is.
    """

    capture: Capture
    staging: Table
    table: Table | None


def watched(connection: Connection, capture: Capture, table: Table | None) -> Watched | None:
    """Return what is to be noted before a write to this table; None if nothing is staged.

    Raises:
        AuditWriteError: the audit tables do not exist.
    """
    staging = staging_of(capture.metadata)
    if staging is None or not _is_supported(connection.dialect, table):
        return None
    if _is_autocommit(connection) or is_read_only(connection):
        return None
    if table is None and is_of_others(connection, capture.metadata):
        return None
    if not has_triggers(connection, staging):
        _require_no(table)
        return None
    return Watched(capture, staging, table)


def note(connection: Connection, written: Watched) -> None:
    """Note the origin of a write, and that a drain is needed.

    Raises:
        MissingActorError: no actor is set.
    """
    recorder = written.capture.recorder
    surroundings = recorder.surroundings()
    if written.table is not None and surroundings.actor is None and recorder.strict:
        raise missing_actor(f"a write to {written.table.name!r}")
    _note_origin(connection, written.staging, Origin(surroundings, unaudited_reason()))


def note_migrated(connection: Connection, capture: Capture) -> None:
    """Note the origin of a migration's write; do nothing before the audit tables exist."""
    staging = staging_of(capture.metadata)
    if staging is None or not _is_supported(connection.dialect, None):
        return
    if not _is_autocommit(connection) and can_record(connection, capture.tables.event):
        restore_touched(connection)
        surroundings = acting(capture.recorder.surroundings())
        origin = Origin(surroundings, unaudited_reason(), is_migration=is_counted())
        _note_origin(connection, staging, origin)


def restore_touched(connection: Connection) -> None:
    """Create triggers again that a statement has dropped, or that no longer fit their table."""
    transaction = open_transaction(connection)
    if transaction.touched:
        for capture in captures_of(connection):
            restore_triggers(connection, capture.metadata, staged_tables, create_triggers)
        transaction.touched.clear()


def _note_origin(connection: Connection, staging: Table, origin: Origin) -> None:
    transaction, of = open_transaction(connection), CAPTURE_DIALECTS.of(connection)
    if not transaction.has_begun:
        floor = of.begin_to_write(connection, staging)
        if floor is None:
            return
        transaction.begin(floor, origin)
    elif transaction.needs(origin):
        transaction.note(of.position(connection, staging), origin)
    transaction.written.add(staging.metadata)


def _is_autocommit(connection: Connection) -> bool:
    return CAPTURE_DIALECTS.of(connection).is_autocommit(connection)


def _is_supported(dialect: Dialect, table: Table | None) -> bool:
    try:
        require_supported(dialect)
    except AuditConfigError:
        if table is not None:
            raise
        return False
    return True


def _require_no(table: Table | None) -> None:
    if table is not None:
        raise AuditWriteError(
            f"a write to {table.name!r} was refused, because the audit tables do not exist in its "
            "database: create them with `flask audit init`, `auditspan --app MODULE:TRAIL "
            "init` or your own migration (the service: `auditspan db upgrade`)"
        )
