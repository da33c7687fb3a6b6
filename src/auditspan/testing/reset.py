"""Reset of the database of a test suite, append-only tables included."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Dialect, Engine, MetaData, Table, inspect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.schema import sort_tables_and_constraints

from auditspan.errors import AuditConfigError
from auditspan.storage.dialects import PerDialect
from auditspan.testing.reading import require_room

if TYPE_CHECKING:
    from auditspan.trail import AuditTrail

_RUNNERS = ("pytest", "unittest")
_TRUNCATE_TRIGGERS = """
    SELECT CAST(c.oid::regclass AS text), quote_ident(t.tgname), CAST(t.tgenabled AS text)
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     WHERE t.tgtype & 32 <> 0 AND t.tgenabled <> 'D'
       AND (c.oid = to_regclass(%s) OR c.oid IN (SELECT relid FROM pg_partition_tree(%s)))
"""
_LOCK_SECONDS = 10
_ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


def reset(engine: Engine, trail: AuditTrail, *, database: str | None = None) -> None:
    """Empty every table of the trail's metadata: the audit tables and those of the application.

    For suites that commit, where `rolled_back` does not help. The triggers of an audit table refuse
    a plain `DELETE`, and a `DELETE` on an audited table is itself recorded. `reset` disables and
    restores triggers in one transaction, nothing is recorded, and ids start at 1 again. The
    connected role must own the tables. Tables that do not exist are skipped. End the sessions of
    the test before: PostgreSQL waits ten seconds for a table that one of them still uses.

    It cannot be undone, and is refused unless a test runner is loaded (pytest or unittest) and the
    database is one for tests: its name contains `test`, or it is SQLite in memory or below the
    directory for temporary files. Any other database must be named explicitly.

    Args:
        engine: the engine of the database. If yours is async, create a sync one for the same
            database.
        trail: the trail; all tables of its metadata are emptied.
        database: the exact name of the database, if the name does not show that it is for tests;
            for SQLite, the path in the URL.

    Raises:
        AuditConfigError: no test runner is loaded, the database is not known to be for tests, or
            a transaction is open on the only connection of the engine.
    """
    _require_tests(engine, database)
    require_room(engine)
    tables = _sorted(trail.tables.event.metadata)
    looking = inspect(engine)
    there = [table for table in tables if looking.has_table(table.name, schema=table.schema)]
    # A driver cursor bypasses SQLAlchemy's events, and so the capture.
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        try:
            _EMPTY.of(engine)(cursor, there, engine.dialect)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise


def _require_tests(engine: Engine, database: str | None) -> None:
    name = engine.url.database or ""
    if not any(runner in sys.modules for runner in _RUNNERS):
        raise AuditConfigError(
            "reset is refused: it is only for tests, but no test runner is loaded"
        )
    if database != name and not _IS_FOR_TESTS.of(engine)(name):
        raise AuditConfigError(
            f"reset is refused: the database {name!r} is not known to be for tests; use one whose "
            f"name contains 'test', or pass database={name!r}"
        )


def _is_named_for_tests(name: str) -> bool:
    return "test" in name.lower()


def _is_temporary(name: str) -> bool:
    if name in {"", ":memory:"}:
        return True
    path = Path(name).resolve()
    temporary = Path(tempfile.gettempdir()).resolve()
    return _is_named_for_tests(path.name) or path.is_relative_to(temporary)


_IS_FOR_TESTS = PerDialect[Callable[[str], bool]](
    postgresql=_is_named_for_tests, sqlite=_is_temporary
)


def _sorted(metadata: MetaData) -> list[Table]:
    """Return the tables, referenced ones first; without the warning about cycles."""
    pairs: Iterable[tuple[Table | None, object]] = sort_tables_and_constraints(  # type: ignore[no-untyped-call]
        metadata.tables.values()
    )
    return [table for table, _ in pairs if table is not None]


def _truncate(cursor: DBAPICursor, tables: list[Table], dialect: Dialect) -> None:
    names = [dialect.identifier_preparer.format_table(table) for table in tables]
    cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
    with _truncatable(cursor, names):
        cursor.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")


def _delete(cursor: DBAPICursor, tables: list[Table], _dialect: Dialect) -> None:
    cursor.execute("BEGIN IMMEDIATE")
    cursor.execute("PRAGMA defer_foreign_keys = ON")
    for table in reversed(tables):
        _delete_all(cursor, table)


_EMPTY = PerDialect[Callable[[DBAPICursor, list[Table], Dialect], None]](
    postgresql=_truncate, sqlite=_delete
)


@contextmanager
def _truncatable(cursor: DBAPICursor, names: list[str]) -> Iterator[None]:
    """Disable the triggers that refuse TRUNCATE, and enable them again as they were."""
    found: list[tuple[str, str, str | bytes]] = []
    for name in names:
        cursor.execute(_TRUNCATE_TRIGGERS, (name, name))
        found += cursor.fetchall()
    for table, trigger, _ in found:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    yield
    for table, trigger, enabled in found:
        how = _ENABLE[enabled if isinstance(enabled, str) else enabled.decode()]
        cursor.execute(f"ALTER TABLE {table} {how} TRIGGER {trigger}")


def _delete_all(cursor: DBAPICursor, table: Table) -> None:
    schema = f'"{table.schema}".' if table.schema else ""
    cursor.execute(
        f"SELECT name, sql FROM {schema}sqlite_master WHERE type = 'trigger' AND tbl_name = ?",  # noqa: S608 (names of tables)
        (table.name,),
    )
    triggers = cursor.fetchall()
    for name, _ in triggers:
        cursor.execute(f'DROP TRIGGER {schema}"{name}"')
    cursor.execute(f'DELETE FROM {schema}"{table.name}"')  # noqa: S608 (likewise)
    for _, sql in triggers:
        # The stored SQL lacks the schema.
        cursor.execute(sql.replace("CREATE TRIGGER ", f"CREATE TRIGGER {schema}", 1))
    cursor.execute(f"SELECT 1 FROM {schema}sqlite_master WHERE name = 'sqlite_sequence'")  # noqa: S608
    if cursor.fetchone():
        cursor.execute(f"DELETE FROM {schema}sqlite_sequence WHERE name = ?", (table.name,))  # noqa: S608
