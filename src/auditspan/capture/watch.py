"""Watches: what is noted before a statement that may write to an audited table."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Table, event
from sqlalchemy.orm import Mapper

from auditspan.capture.altered import restore_touched
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.migration import (
    can_record,
    is_migrated,
    migrated_metadata,
    migrated_origin,
)
from auditspan.capture.open_transaction import OpenTransaction, is_read_only
from auditspan.capture.origin import Origin
from auditspan.capture.recorder import missing_actor
from auditspan.capture.registry import adopt, captures_of, is_met, may_record, when_changed
from auditspan.capture.triggers import forget_triggers, has_triggers, is_of_others
from auditspan.capture.writer import Capture
from auditspan.errors import AuditConfigError, AuditWriteError, UnauditedWriteError
from auditspan.mapping import subject_of, table_named
from auditspan.storage.dialects import require_supported


class Watch(NamedTuple):
    """A table that is written to, and a trail for which triggers stage what is written.

    Attributes:
        table: the audited table; None for raw SQL and for a table that is not audited, whose own
            triggers may write to one that is.
    """

    capture: Capture
    table: Table | None


class _Known(NamedTuple):
    """Watches of an engine that were found for connections with these execution options."""

    options: object
    watches: dict[Table | None, list[Watch]]


_known: WeakKeyDictionary[Dialect, _Known] = WeakKeyDictionary()


def forget_watches(dialect: Dialect) -> None:
    """Compare triggers again at the next write through this engine."""
    _known.pop(dialect, None)
    forget_triggers(dialect)


@event.listens_for(Mapper, "after_mapper_constructed")
def _forget(_mapper: Mapper[Any], _class: type[object]) -> None:
    _known.clear()  # a new class may audit any table


when_changed.append(_known.clear)


def note_write(connection: Connection, transaction: OpenTransaction, written: Table | None) -> None:
    """Note the origin of a write to this table, or by raw SQL (None), and that it must be drained.

    Raises:
        UnauditedWriteError: no trail of this engine knows the table.
        AuditWriteError: the audit tables do not exist.
        MissingActorError: no actor is set.
    """
    if is_migrated(connection, transaction):
        for capture in watching_captures(connection, _audited(written)):
            _note_migrated(connection, transaction, capture)
        return
    options, known = connection.get_execution_options(), _known.get(connection.dialect)
    if known is None or known.options is not options:
        known = _known[connection.dialect] = _Known(options, {})
    found = known.watches.get(written)
    for watch in _find(connection, written, known) if found is None else found:
        _note(connection, transaction, watch)


def watching_captures(connection: Connection, table: Table | None) -> list[Capture]:
    """Return the trails of this engine, of the migrated metadata, and of an audited table."""
    found = captures_of(connection)
    unknown = set() if is_met(connection) else set(migrated_metadata(connection) or ())
    if table is not None and all(one.metadata is not table.metadata for one in found):
        unknown.add(table.metadata)
    for metadata in unknown:
        adopt(metadata, connection.engine)
    return captures_of(connection) if unknown else found


def _audited(table: Table | None) -> Table | None:
    return None if table is None or subject_of(table) is None else table


def _find(connection: Connection, written: Table | None, known: _Known) -> list[Watch]:
    """Find what a write to this table concerns; remember it if all of its triggers exist."""
    table = _audited(written)
    captures = watching_captures(connection, table)
    if table is not None and captures and is_met(connection):
        _require_known(table, captures)
    concerned = [one for one in captures if may_record(one, connection, written)]
    watches = [_watch(connection, one, table) for one in concerned]
    found = [one for one in watches if one is not None]
    if found and len(found) == len(watches):
        known.watches[written] = found
    return found


def _watch(connection: Connection, capture: Capture, table: Table | None) -> Watch | None:
    if not _is_supported(connection.dialect, table):
        return None
    if _is_autocommit(connection) or is_read_only(connection):
        return None
    if table is None and is_of_others(connection, capture.metadata):
        return None
    if not has_triggers(connection, capture.staging):
        _require_no(table)
        return None
    return Watch(capture, table)


def _note(connection: Connection, transaction: OpenTransaction, watch: Watch) -> None:
    if not transaction.has_begun and _is_autocommit(connection):
        return
    recorder = watch.capture.recorder
    origin = recorder.origin()
    if watch.table is not None and origin.actor is None and recorder.strict:
        raise missing_actor(f"a write to {watch.table.name!r}")
    _note_origin(connection, transaction, watch.capture, origin)


def _note_migrated(connection: Connection, transaction: OpenTransaction, capture: Capture) -> None:
    """Note the origin of a migration's write; do nothing before the audit tables exist."""
    if not _is_supported(connection.dialect, None) or _is_autocommit(connection):
        return
    if can_record(connection, capture.tables.event):
        restore_touched(connection)
        origin = migrated_origin(capture.recorder.origin())
        _note_origin(connection, transaction, capture, origin)


def _note_origin(
    connection: Connection, transaction: OpenTransaction, capture: Capture, origin: Origin
) -> None:
    of, staging = CAPTURE_DIALECTS.of(connection), capture.staging
    if not transaction.has_begun:
        floor = of.begin_to_write(connection, staging)
        if floor is None:
            return
        transaction.floor = floor
        transaction.note(0, origin)
    elif transaction.needs(origin):
        transaction.note(of.position(connection, staging), origin)
    transaction.written.add(capture.metadata)


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


def _require_known(table: Table, captures: list[Capture]) -> None:
    known = (table_named(capture.metadata, table.key) for capture in captures)
    if not any(found is not None and subject_of(found) is not None for found in known):
        raise UnauditedWriteError(
            f"a write to {table.name!r} was refused: the table is audited, but no trail over this "
            "engine knows it, so no trigger would record the write: create an AuditTrail over the "
            "metadata of its declarative base"
        )


def _require_no(table: Table | None) -> None:
    if table is not None:
        raise AuditWriteError(
            f"a write to {table.name!r} was refused, because the audit tables do not exist in its "
            "database: create them with `flask audit init`, `auditspan --app MODULE:TRAIL "
            "init` or your own migration (the service: `auditspan db upgrade`)"
        )
