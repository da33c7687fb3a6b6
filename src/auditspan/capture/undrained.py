"""Undrained staged changes: written by another program, under AUTOCOMMIT, or by a raw driver.

Once a change is committed in the staging table, the program that wrote it no longer drains it. The
caller MUST commit or roll back the transaction in which it takes the changes; either way, and
whichever process is killed in between, nothing is lost or recorded twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import is_
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    MetaData,
    Select,
    Table,
    and_,
    delete,
    func,
    select,
)

from auditspan.capture.assembler import Assembler
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.open_transaction import busy
from auditspan.capture.origin import Origin, is_same_context
from auditspan.capture.staged_change import BATCH, StagedChange, table_key
from auditspan.capture.triggers import staged_tables
from auditspan.capture.writer import Capture
from auditspan.context import AuditContext
from auditspan.format import Actor
from auditspan.mapping import Privacy, audited_table
from auditspan.storage import staging_of


def record_undrained(connection: Connection, capture: Capture, limit: int = BATCH) -> int:
    """Record committed changes that were not drained, oldest first, in the running transaction.

    Rows of tables without a policy in this metadata stay where they are (`unknown_tables`).

    Args:
        connection: in a transaction of its own.
        capture: the trail; its models MUST have been imported.
        limit: the maximum number of rows.

    Returns:
        The number of rows recorded. Fewer than `limit` means that no more are waiting.

    Raises:
        AuditWriteError: the changes could not be recorded.
    """
    staging, of = capture.staging, CAPTURE_DIALECTS.of(connection)
    with busy(connection):
        bases = _bases(capture.metadata)
        rows = _take(connection, staging, _known(capture.metadata), bases, limit)
        origins = _origins(rows, capture.recorder.privacy)
        ids = {id(origin): capture.recorder.new_id() for origin in origins.values()}
        assembler = Assembler(
            connection=connection,
            metadata=capture.metadata,
            mac_key=capture.mac_key,
            origin_at=origins.__getitem__,
            is_together=is_ if of.KNOWS_TRANSACTIONS else is_same_context,
            ahead=_waiting(connection, staging, bases),
            trail=capture.tables.event,
        )
        for changes in assembler.assemble([[_change(row) for row in rows]]):
            make = capture.recorder.record_change
            records = (make(change, origin, ids[id(origin)]) for origin, change in changes)
            capture.write(connection, records)
    return len(rows)


def unknown_tables(connection: Connection, metadata: MetaData) -> dict[str, int]:
    """Count the staged rows of tables without a policy in this metadata, by table."""
    staging = staging_of(metadata)
    if staging is None:
        return {}
    schema, name = staging.c.table_schema, staging.c.table_name
    counted = select(schema, name, func.count()).group_by(schema, name).where(staging.c.id > 0)
    known = _known(metadata)
    found = ((table_key(*row[:2]), row[2]) for row in connection.execute(counted))
    return {key: count for key, count in found if key not in known}


def _known(metadata: MetaData) -> set[str]:
    return {staged.table.key for staged in staged_tables(metadata)}


def _bases(metadata: MetaData) -> set[str]:
    """Return the base tables whose discriminator gives the class of rows in other tables."""
    found = (audited_table(staged.table) for staged in staged_tables(metadata))
    return {one.table.key for one in found if one and one.is_base and one.joined_base is not None}


def _take(
    connection: Connection, staging: Table, known: set[str], bases: set[str], limit: int
) -> Sequence[Any]:
    """Delete the oldest rows of these tables, and return them oldest first.

    If a row may determine the class of others, wait for other workers, so that rows are recorded
    in order.
    """
    place = CAPTURE_DIALECTS.of(connection).row_place(staging)
    oldest = _oldest(staging, known, limit, place).with_for_update(skip_locked=not bases)
    taken = delete(staging).where(place.in_(oldest)).returning(*_columns(staging))
    return sorted(connection.execute(taken).all(), key=lambda row: int(row.id))


def _waiting(
    connection: Connection, staging: Table, tables: set[str]
) -> Iterator[list[StagedChange]]:
    """Read the changes of these tables that this worker or another one has yet to record."""
    last = 0
    while rows := connection.execute(
        _oldest(staging, tables, BATCH, *_columns(staging), after=last)
    ).all():
        yield [_change(row) for row in rows]
        last = rows[-1].id


def _oldest(
    staging: Table, tables: set[str], limit: int, *columns: ColumnElement[Any], after: int = 0
) -> Select[Any]:
    c = staging.c
    qualified = func.coalesce(c.table_schema + ".", "") + c.table_name
    return (
        select(*columns)
        .select_from(staging)
        .where(and_(c.id > after, qualified.in_(sorted(tables))))
        .order_by(c.id)
        .limit(limit)
    )


def _columns(staging: Table) -> list[ColumnElement[Any]]:
    names = "id xact_id changed_at table_schema table_name operation old new role application"
    return [staging.c[name] for name in (*names.split(), "client_address")]


def _change(row: Any) -> StagedChange:  # noqa: ANN401 (a row)
    key = table_key(row.table_schema, row.table_name)
    return StagedChange(row.id, row.id, key, row.operation, row.old, row.new)


def _origins(rows: Sequence[Any], privacy: Privacy) -> dict[int, Origin]:
    """Return the origin of each row, by its id; rows of one transaction share an origin.

    SQLite records no transaction ids: there, rows written at the same time share an origin.
    """
    known: dict[tuple[Any, ...], Origin] = {}
    found = {}
    for row in rows:
        key = (row.xact_id or row.changed_at, row.role, row.application, row.client_address)
        found[row.id] = known.setdefault(key, _origin(row, privacy))
    return found


def _origin(row: Any, privacy: Privacy) -> Origin:  # noqa: ANN401 (a row)
    address = row.client_address if privacy.client_address else None
    said = {"application": row.application, "client_address": address}
    context = AuditContext(metadata={name: value for name, value in said.items() if value})
    return Origin(
        moment=row.changed_at,
        context=context,
        actor=Actor.database(row.role),
        trace_id=None,
        span_id=None,
    )
