"""Triggers of all audited tables of a metadata: creation and comparison."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Dialect, MetaData, Table, inspect
from sqlalchemy.orm import configure_mappers

from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.open_transaction import busy
from auditspan.errors import AuditConfigError
from auditspan.mapping import AuditedTable, LinkTable, audited_table, home_of, subject_of, tables_of
from auditspan.storage import Translation, dialect_of, staging_of, translation_of
from auditspan.storage.triggers import TRIGGERS, StagedTable, fitted, fitted_tables


def staged_tables(metadata: MetaData) -> list[StagedTable]:
    """Return the audited tables and link tables of a metadata with a staging table, and its base.

    Raises:
        AuditConfigError: two tables have the same name, by which a trail tells tables apart.
    """
    staging = _staging(metadata)
    if staging is None:
        return []
    configure_mappers()  # relationships name their link tables
    found: dict[str, StagedTable] = {}
    for table in tables_of(home_of(metadata)):
        subject = subject_of(table)
        if not isinstance(subject, AuditedTable | LinkTable):
            continue
        if table.key in found:
            raise AuditConfigError(
                f"two audited tables of one declarative base are named {table.key!r}, but a trail "
                "tells tables apart by their names: rename one, or give it a schema"
            )
        found[table.key] = _staged(subject, staging)
    return [*found.values()]


def discriminator_of(table: Table) -> str | None:
    """Return the name of the table's column that determines the class of a row, if it has one."""
    audited = audited_table(table)
    found = audited.discriminator if audited and audited.is_base else None
    return None if found is None else found.name


def create_triggers(connection: Connection, staged: StagedTable) -> None:
    """Create the triggers of one table, replacing existing ones."""
    dialect = dialect_of(connection)
    for statement in TRIGGERS.of(dialect).trigger_statements(staged, dialect):
        connection.exec_driver_sql(statement)


def create_all_triggers(
    metadata: MetaData, connection: Connection, created: Collection[Table]
) -> None:
    """Create the triggers of all audited tables; those of audit tables only if just created."""
    staging = _staging(metadata)
    if staging is None or not _has(connection, staging):
        return
    names = {table.name for table in created}
    if names & {staging.name, "audit_event"}:
        dialect = dialect_of(connection)
        for statement in TRIGGERS.of(dialect).staging_statements(staging, dialect):
            connection.exec_driver_sql(statement)
    staged = staged_tables(metadata)
    present = _present(connection, [one.table for one in staged])
    for one in staged:
        if one.table in present:
            create_triggers(connection, fitted(connection, one))


_checked: WeakKeyDictionary[Dialect, set[tuple[MetaData, Translation]]] = WeakKeyDictionary()
"""The metadata whose triggers were compared since the schema last changed, by engine."""


_own: WeakKeyDictionary[Dialect, set[MetaData]] = WeakKeyDictionary()
"""The metadata whose audited tables were found in the database, by engine."""

_deferred: WeakSet[Dialect] = WeakSet()


def has_triggers(connection: Connection, staging: Table) -> bool:
    """Return whether writes are staged; they are not before the staging table exists.

    Raises:
        AuditConfigError: triggers are missing or differ (`require_triggers`).
    """
    checked = _checked.setdefault(connection.dialect, set())
    key = (staging.metadata, translation_of(connection))
    if key not in checked:
        if not _has(connection, staging):
            return False
        require_triggers(connection, staging.metadata)
        checked.add(key)
        if CAPTURE_DIALECTS.of(connection).has_deferred(connection):
            _deferred.add(connection.dialect)
    return True


def is_of_others(connection: Connection, metadata: MetaData) -> bool:
    """Return whether the database has no audited table of this metadata.

    A trail without a known engine may be checked against the database of another application.
    """
    known = _own.setdefault(connection.dialect, set())
    if metadata not in known and _present(connection, [s.table for s in staged_tables(metadata)]):
        known.add(metadata)
    return metadata not in known


def has_deferred(connection: Connection) -> bool:
    """Return whether the database had deferrable triggers at the last comparison."""
    return connection.dialect in _deferred


def forget_triggers(dialect: Dialect) -> None:
    """Forget the comparison, so that the next write through this engine repeats it."""
    _checked.pop(dialect, None)
    _own.pop(dialect, None)
    _deferred.discard(dialect)


def require_triggers(connection: Connection, metadata: MetaData) -> None:
    """Compare the triggers with the models; on SQLite, replace those that differ.

    Raises:
        AuditConfigError: triggers are missing or differ, so that a write could go unrecorded.
    """
    with busy(connection):
        problems = [*_problems(connection, metadata)]
    if problems:
        raise AuditConfigError(
            "writes were refused, because triggers that record them are missing or differ from the "
            f"models: create them again with `MetaData.create_all`. {'; '.join(problems)}"
        )


def _problems(connection: Connection, metadata: MetaData) -> Iterator[str]:
    staged, staging = staged_tables(metadata), _staging(metadata)
    if staging is not None:
        yield from TRIGGERS.of(connection).drain_problems(connection, staging)
    present = _present(connection, [one.table for one in staged])
    for live in fitted_tables(connection, [one for one in staged if one.table in present]):
        yield from CAPTURE_DIALECTS.of(connection).standing_problems(connection, live)


def _staging(metadata: MetaData) -> Table | None:
    own = staging_of(metadata)
    return staging_of(home_of(metadata)) if own is None else own


def _staged(subject: AuditedTable | LinkTable, staging: Table) -> StagedTable:
    table = subject.table
    excluded = {column.name for column in table.columns} - _kept(subject)
    return StagedTable(
        table=table,
        staging=staging,
        excluded=frozenset(excluded),
        discriminator=discriminator_of(table),
    )


def _kept(subject: AuditedTable | LinkTable) -> set[str]:
    """Return the names of the columns that a record needs."""
    if isinstance(subject, LinkTable):
        return {column.name for column in subject.key}
    return {column.name for column in subject.columns if column.table is subject.table}


def _present(connection: Connection, tables: list[Table]) -> set[Table]:
    schemas = {table: connection.schema_for_object(table) for table in tables}
    looking = inspect(connection)
    wanted = {*schemas.values()}
    there = {None, *(looking.get_schema_names() if wanted - {None} else ())}
    names = {schema: {*looking.get_table_names(schema=schema)} for schema in wanted & there}
    return {table for table in tables if table.name in names.get(schemas[table], set())}


def _has(connection: Connection, table: Table) -> bool:
    return inspect(connection).has_table(table.name, schema=connection.schema_for_object(table))
