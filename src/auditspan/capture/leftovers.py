"""Staged changes that nobody drained: another program's, AUTOCOMMIT's, those of a raw driver.

Whatever is committed in the staging table, the program that wrote it will not drain any more. The
caller MUST commit the transaction in which it takes them, or roll it back; nothing is lost or told
twice either way, whoever is killed in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, MetaData, Table, and_, delete, func, literal_column, select

from auditspan.capture.drain import BATCH, StagedChange, table_key
from auditspan.capture.opentransaction import Origin, busy
from auditspan.capture.recording import recorded
from auditspan.capture.staging import staging_of
from auditspan.capture.telling import Telling
from auditspan.capture.triggers import staged_tables
from auditspan.capture.writer import Capture
from auditspan.context import AuditContext
from auditspan.record import Actor
from auditspan.recorder import Surroundings


def take_leftovers(connection: Connection, capture: Capture, limit: int = BATCH) -> int:
    """Record committed changes that nobody drained, oldest first, in the running transaction.

    Rows of tables of which this metadata knows no policy stay where they are (`unknown_tables`).

    Args:
        connection: in a transaction of its own.
        capture: the trail; its models MUST have been imported.
        limit: how many rows at most.

    Returns:
        How many rows were taken. Fewer than `limit` means that no more are waiting.

    Raises:
        AuditWriteError: they could not be recorded.
    """
    staging = staging_of(capture.metadata)
    if staging is None:
        return 0
    with busy(connection):
        rows = _take(connection, staging, _known(capture.metadata), limit)
        origins = _origins(rows)
        ids = {id(origin): capture.recorder.new_id() for origin in origins.values()}
        telling = Telling(
            connection=connection,
            metadata=capture.metadata,
            mac_key=capture.mac_key,
            origin_at=origins.__getitem__,
            knows_transactions=connection.dialect.name == "postgresql",
        )
        for told in telling.told([[_change(row) for row in rows]]):
            if told:
                capture.write(connection, recorded(told, capture.recorder, lambda o: ids[id(o)]))
    return len(rows)


def unknown_tables(connection: Connection, metadata: MetaData) -> dict[str, int]:
    """How many staged rows wait of tables of which this metadata knows no policy, by table."""
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


def _take(connection: Connection, staging: Table, known: set[str], limit: int) -> Sequence[Any]:
    """Delete the oldest rows of these tables, and return them oldest first."""
    c = staging.c
    qualified = func.coalesce(c.table_schema + ".", "") + c.table_name
    place = literal_column("ctid") if connection.dialect.name == "postgresql" else c.id
    oldest = (
        select(place)
        .select_from(staging)
        .where(and_(c.id > 0, qualified.in_(sorted(known))))
        .order_by(c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = delete(staging).where(place.in_(oldest)).returning(*_columns(staging))
    return sorted(connection.execute(taken).all(), key=lambda row: int(row.id))


def _columns(staging: Table) -> list[Any]:
    names = "id xact_id changed_at table_schema table_name operation old new role application"
    return [staging.c[name] for name in (*names.split(), "client_address")]


def _change(row: Any) -> StagedChange:  # noqa: ANN401 (a row)
    key = table_key(row.table_schema, row.table_name)
    return StagedChange(row.id, row.id, key, row.operation, row.old, row.new)


def _origins(rows: Sequence[Any]) -> dict[int, Origin]:
    """Where each row comes from, by its id; what one transaction wrote has one origin.

    SQLite knows no transactions: there it is what was written at one time.
    """
    known: dict[tuple[Any, ...], Origin] = {}
    found = {}
    for row in rows:
        key = (row.xact_id or row.changed_at, row.role, row.application, row.client_address)
        found[row.id] = known.setdefault(key, _origin(row))
    return found


def _origin(row: Any) -> Origin:  # noqa: ANN401 (a row)
    said = {"application": row.application, "client_address": row.client_address}
    context = AuditContext(metadata={name: value for name, value in said.items() if value})
    return Origin(
        Surroundings(
            moment=row.changed_at,
            context=context,
            actor=Actor.database(row.role),
            trace_id=None,
            span_id=None,
        )
    )
