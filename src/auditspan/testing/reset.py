"""Emptying the database of a test suite, append-only tables included."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, MetaData, Table, inspect
from sqlalchemy.schema import sort_tables_and_constraints

from auditspan.errors import AuditConfigError
from auditspan.testing.reading import require_room

if TYPE_CHECKING:
    from auditspan.trail import AuditTrail

_RUNNERS = ("pytest", "unittest")
_TRUNCATE_TRIGGERS = """
    SELECT CAST(c.oid::regclass AS text), quote_ident(t.tgname), t.tgenabled
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     WHERE t.tgtype & 32 <> 0 AND t.tgenabled <> 'D'
       AND (c.oid = to_regclass(%s) OR c.oid IN (SELECT relid FROM pg_partition_tree(%s)))
"""
_LOCK_SECONDS = 10
_ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


def reset(engine: Engine, trail: AuditTrail, *, database: str | None = None) -> None:
    """Empty every table of the trail's metadata: the audit tables and those of the application.

    For suites that commit, where `rolled_back` does not help. Plain `DELETE` of an audit table is
    refused by its triggers, and `DELETE` of an audited one is itself recorded. Here triggers are
    set aside and put back in one transaction, nothing is recorded, and ids begin at 1 again. The
    connected role must own the tables. Tables that do not exist are left out. End the sessions of
    the test before: PostgreSQL waits ten seconds for a table that one of them still uses.

    It cannot be undone, and is refused unless a test runner is loaded (pytest or unittest) and the
    database is one for tests: its name contains `test`, or it is SQLite in memory or below the
    directory for temporary files. A database with another name has to be named.

    Args:
        engine: of the database. With an async engine, make a sync one for the same database.
        trail: whose tables, and whose metadata's, are emptied.
        database: the name of the database, exactly, if it does not tell that it is for tests; for
            SQLite the path as it stands in the URL.

    Raises:
        AuditConfigError: no test runner is loaded, the database is not known to be for tests, or
            a transaction is open on the only connection of the engine.
    """
    _require_tests(engine, database)
    require_room(engine)
    tables = _sorted(trail.tables.event.metadata)
    looking = inspect(engine)
    there = [table for table in tables if looking.has_table(table.name, schema=table.schema)]
    # A cursor of the driver: SQLAlchemy's events, and with them the capture, see nothing of it.
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        try:
            _empty(engine, cursor, there)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise


def _require_tests(engine: Engine, database: str | None) -> None:
    name = engine.url.database or ""
    if not any(runner in sys.modules for runner in _RUNNERS):
        raise AuditConfigError("reset is refused: it is for tests, and no test runner is loaded")
    if database != name and not _is_for_tests(engine, name):
        raise AuditConfigError(
            f"reset is refused: nothing says that the database {name!r} is for tests; use one "
            f"whose name contains 'test', or pass database={name!r}"
        )


def _is_for_tests(engine: Engine, name: str) -> bool:
    if engine.dialect.name != "sqlite":
        return "test" in name.lower()
    if name in {"", ":memory:"}:
        return True
    path = Path(name).resolve()
    return "test" in path.name.lower() or path.is_relative_to(Path(tempfile.gettempdir()).resolve())


def _sorted(metadata: MetaData) -> list[Table]:
    """The tables, those that others refer to first; without the warning that cycles give."""
    pairs: Iterable[tuple[Table | None, object]] = sort_tables_and_constraints(  # type: ignore[no-untyped-call]
        metadata.tables.values()
    )
    return [table for table, _ in pairs if table is not None]


def _empty(engine: Engine, cursor: Any, tables: list[Table]) -> None:  # noqa: ANN401 (any driver's)
    if engine.dialect.name == "postgresql":
        names = [engine.dialect.identifier_preparer.format_table(table) for table in tables]
        cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        with _truncatable(cursor, names):
            cursor.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")
        return
    cursor.execute("BEGIN IMMEDIATE")
    cursor.execute("PRAGMA defer_foreign_keys = ON")
    for table in reversed(tables):
        _delete_all(cursor, table)


@contextmanager
def _truncatable(cursor: Any, names: list[str]) -> Iterator[None]:  # noqa: ANN401 (any driver's)
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


def _delete_all(cursor: Any, table: Table) -> None:  # noqa: ANN401 (SQLite's)
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
        # The stored text has no schema.
        cursor.execute(sql.replace("CREATE TRIGGER ", f"CREATE TRIGGER {schema}", 1))
    cursor.execute(f"SELECT 1 FROM {schema}sqlite_master WHERE name = 'sqlite_sequence'")  # noqa: S608
    if cursor.fetchone():
        cursor.execute(f"DELETE FROM {schema}sqlite_sequence WHERE name = ?", (table.name,))  # noqa: S608
