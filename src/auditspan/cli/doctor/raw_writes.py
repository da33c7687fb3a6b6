"""Raw SQL that the database of an application has met, and that the trail does not attribute.

Triggers record what raw SQL writes to an audited table, in the context of its transaction. What
remains is written where no trigger is, or committed where no context is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from sqlalchemy import Connection, MetaData, Table, func, inspect, literal, select, table, text

from auditspan.capture import unknown_tables
from auditspan.storage import STAGING, AuditTables, staging_of
from auditspan.storage.dialects import PerDialect
from auditspan.verify import Decision, coverage

_NEWEST = 100_000
"""Events and rows that are read at most."""

Counts = Iterable[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class RawWrites:
    """Writes of one kind, to one table or to the objects of one type.

    Attributes:
        kind: `staged`: changes of a table that no imported model audits. `unattributed`: recorded
            changes without an actor of the application. `unrecorded`: changes of a table without
            triggers.
        name: the table, or the target type.
        rows: their number.
        detail: what was met, and the remedy, in sentences.
    """

    kind: Literal["staged", "unattributed", "unrecorded"]
    name: str
    rows: int
    detail: str


def find_raw_writes(
    connection: Connection, tables: AuditTables, metadatas: Sequence[MetaData], *, command: str
) -> Iterator[RawWrites]:
    """Yield the writes that the trail does not record, or that have no actor.

    A role that may not read the trail or the staged changes finds nothing there.

    Args:
        connection: the application's database.
        tables: the audit tables.
        metadatas: the metadata of the application's models.
        command: the command line of the application, for the remedies.
    """
    staging, found = staging_of(tables.event.metadata), []
    if staging is not None and _may_read(connection, staging):
        found = [*_staged(connection, tables.event.metadata)]
        yield from found
    if _may_read(connection, tables.event):
        yield from _unattributed(connection, tables.event, command)
    staged = {one.name for one in found}
    yield from (one for one in _unrecorded(connection, tables, metadatas) if one.name not in staged)


def _staged(connection: Connection, metadata: MetaData) -> Iterator[RawWrites]:
    for name, rows in sorted(unknown_tables(connection, metadata).items()):
        detail = (
            f"{rows} changes of the table {name} are staged, and no worker can record them, "
            "because no imported model audits it: import its module where the trail is created, or "
            "drop its triggers."
        )
        yield RawWrites(kind="staged", name=name, rows=rows, detail=detail)


def _unattributed(connection: Connection, event: Table, command: str) -> Iterator[RawWrites]:
    """Yield the changes by the actors `database` and `unknown` among the newest events."""
    c = event.c
    first = select(func.max(c.id) - _NEWEST).scalar_subquery()
    grouped = (
        select(c.target_type, c.actor_type, c.actor_id, func.count(), func.max(c.id))
        .where(c.id > first, c.actor_type.in_(("database", "unknown")), c.target_type.is_not(None))
        .group_by(c.target_type, c.actor_type, c.actor_id)
        .order_by(c.target_type, c.actor_type, c.actor_id)
    )
    for type_, kind, role, rows, newest in connection.execute(grouped).all():
        event_id = connection.execute(select(c.event_id).where(c.id == newest)).scalar_one()
        who = f"the database role {role}" if kind == "database" else "an unknown actor"
        origin = (
            "they were committed by a raw driver, under AUTOCOMMIT or by another program"
            if kind == "database"
            else "no audit_context was open"
        )
        detail = (
            f"{rows} of the newest events are changes of {type_} by {who}: {origin}. To record the "
            "actor, write through an engine of the trail, in a transaction and inside "
            f"audit_context(actor=...). `{command} show {event_id}` shows the newest one."
        )
        yield RawWrites(kind="unattributed", name=type_, rows=rows, detail=detail)


def _unrecorded(
    connection: Connection, tables: AuditTables, metadatas: Sequence[MetaData]
) -> Iterator[RawWrites]:
    """Yield the tables that have rows or were written to, without a decision on auditing."""
    decided = _decisions(metadatas)
    own = {STAGING, "alembic_version", *(getattr(tables, one.name).name for one in fields(tables))}
    schemas = {one.schema for metadata in metadatas for one in metadata.tables.values()}
    for name, rows in sorted(_COUNTS.of(connection)(connection, schemas)):
        decision = decided.get(name)
        is_open = decision is None or decision.decision == "missing"
        if rows and is_open and name.rpartition(".")[2] not in own:
            detail = f"The table {name} {_reason(decision)} (rows written or present: {rows})."
            yield RawWrites(kind="unrecorded", name=name, rows=rows, detail=detail)


def _decisions(metadatas: Sequence[MetaData]) -> dict[str, Decision]:
    """Return the decision about each table; a class without one may share it with others."""
    found = [one for metadata in metadatas for one in coverage(metadata)]
    missing = {one.table: one for one in found if one.decision == "missing"}
    return missing | {one.table: one for one in found if one.decision != "missing"}


def _reason(decision: Decision | None) -> str:
    if decision is None:
        return (
            "has no model, and its changes are not recorded: give it a model, or a Table with "
            '`info={"audit": True}` or `info={"audit": Exempt("why it is not audited")}`'
        )
    return f"has no decision, and its changes are not recorded: {decision.advice}"


_WRITTEN = text(
    "SELECT s.schemaname = current_schema(), s.schemaname, s.relname,"
    " s.n_tup_ins + s.n_tup_upd + s.n_tup_del"
    " FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE NOT c.relispartition"
)


def _written(connection: Connection, schemas: set[str | None]) -> Iterator[tuple[str, int]]:
    """Yield the rows that were written since the statistics began."""
    for is_default, schema, name, rows in connection.execute(_WRITTEN):
        if is_default:
            yield name, rows
        elif schema in schemas:
            yield f"{schema}.{name}", rows


def _present(connection: Connection, _schemas: set[str | None]) -> Iterator[tuple[str, int]]:
    """Yield the rows of each table, counted up to a limit."""
    for name in inspect(connection).get_table_names():
        some = select(literal(1)).select_from(table(name)).limit(_NEWEST).subquery()
        yield name, connection.execute(select(func.count()).select_from(some)).scalar_one()


_COUNTS = PerDialect[Callable[[Connection, set[str | None]], Counts]](
    postgresql=_written, sqlite=_present
)
_HAS_PRIVILEGE = text("SELECT has_table_privilege(CAST(:table AS text), 'SELECT')")


def _may_select(connection: Connection, name: str) -> bool:
    return bool(connection.execute(_HAS_PRIVILEGE, {"table": name}).scalar_one())


_MAY_SELECT = PerDialect[Callable[[Connection, str], bool]](
    postgresql=_may_select, sqlite=lambda *_: True
)


def _may_read(connection: Connection, of: Table) -> bool:
    full = connection.dialect.identifier_preparer.format_table(of)
    return inspect(connection).has_table(of.name, of.schema) and _MAY_SELECT.of(connection)(
        connection, full
    )
