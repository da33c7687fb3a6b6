"""The steps of the schema make what the models say, once, all or nothing."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, inspect, text

import auditspan.alembic.autogenerate  # noqa: F401 (Alembic then knows the index of search terms)
from auditspan.seal.guards.check import check_guards
from auditspan.storage.tables import audit_tables
from auditspan_service.database import schema as migrate
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import (
    configuration,
    inspect_schema,
    revisions,
    upgrade,
)
from auditspan_service.errors import SchemaError
from auditspan_service.models import Base
from support.postgres import empty_database

_MIGRATIONS = Path(migrate.__file__).parent / "migrations"
STEPS = ("0001", "0002", "0003", "0004")


@contextmanager
def engine_at(url: str) -> Iterator[Engine]:
    """An engine that is closed afterwards."""
    engine = make_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    """An engine on a database without tables."""
    with engine_at(empty_url) as engine:
        yield engine


def differences(connection: Connection) -> Any:
    """What Alembic would still change."""
    return compare_metadata(MigrationContext.configure(connection), Base.metadata)


def test_upgrade_makes_what_the_models_say(engine: Engine) -> None:
    """After an upgrade Alembic proposes nothing."""
    upgrade(engine)
    with engine.connect() as connection:
        assert differences(connection) == []


def definition(engine: Engine) -> Any:
    """Every table as the database itself describes it."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            rows = connection.execute(
                text(
                    "SELECT type, name, sql FROM sqlite_master "
                    "WHERE name NOT LIKE '%alembic%' AND name NOT LIKE 'sqlite%' ORDER BY name"
                )
            )
            return [(kind, name, _parts(sql)) for kind, name, sql in rows]
        return [
            [tuple(row) for row in connection.execute(text(query))] for query in _POSTGRESQL_CATALOG
        ]


def _parts(sql: str) -> list[str]:
    """The parts of a CREATE statement, in an order that does not depend on who wrote it."""
    parts = re.split(r",\s*\n|\n", sql)
    return sorted(part.strip() for part in parts)


_POSTGRESQL_CATALOG = (
    """
    SELECT table_name, column_name, data_type, udt_name, character_maximum_length, is_nullable,
           column_default, is_identity, identity_generation
      FROM information_schema.columns
     WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
    """,
    """
    SELECT indexname, indexdef FROM pg_indexes
     WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1
    """,
    """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
     WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%' ORDER BY 1
    """,
    """
    SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1
    """,
    """
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
     ORDER BY 1
    """,
)


@pytest.fixture
def other_engine(engine: Engine, tmp_path: Path) -> Iterator[Engine]:
    """Another database of the same kind."""
    if engine.dialect.name == "sqlite":
        with engine_at(f"sqlite:///{tmp_path / 'other.db'}") as other:
            yield other
    else:
        with empty_database() as url, engine_at(url) as other:
            yield other


def test_upgrade_equals_create_all(engine: Engine, other_engine: Engine) -> None:
    """The database describes both in the same words: types, defaults, names of constraints."""
    upgrade(engine)
    Base.metadata.create_all(other_engine)
    assert definition(engine) == definition(other_engine)


def test_second_upgrade_does_nothing(engine: Engine) -> None:
    """An upgrade tells what it did, and repeated does nothing."""
    first, second = upgrade(engine), upgrade(engine)
    assert (first.before, first.applied, first.after) == (None, STEPS, STEPS[-1])
    assert (second.before, second.applied, second.after) == (STEPS[-1], (), STEPS[-1])


def test_upgrades_at_the_same_moment(empty_url: str) -> None:
    """Four that start at once run one after the other; one does the work."""

    def run(_number: int) -> tuple[str, ...]:
        with engine_at(empty_url) as engine:
            return upgrade(engine).applied

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(4))) == [(), (), (), STEPS]


def test_a_file_that_another_is_about_to_switch_to_wal(tmp_path: Path) -> None:
    """SQLite answers "locked" at once, whatever the timeout; the connection waits nevertheless."""
    file = tmp_path / "new.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        soon = Timer(0.3, other.rollback)
        soon.start()
        with engine_at(f"sqlite:///{file}") as engine, engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        soon.join()


def test_upgrade_is_all_or_nothing(engine: Engine) -> None:
    """Where a step fails, nothing of it stays."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE audit_quarantine (sink TEXT)"))
    with pytest.raises(Exception, match="already exists"):
        upgrade(engine)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["audit_quarantine"]


def test_step_of_the_triggers_and_back(engine: Engine, other_engine: Engine) -> None:
    """The step makes the tables append-only; the way back takes all of it away."""
    for target in (engine, other_engine):
        move(target, "0002")
    plain = definition(engine)
    move(engine, "0003")
    assert definition(engine) != plain
    with engine.connect() as connection:
        guards = check_guards(connection, audit_tables(MetaData()))
    assert [] == [finding.detail for finding in guards if finding.kind == "trigger"]
    with engine.begin() as connection:
        command.downgrade(configuration(connection), "0002")
    assert definition(engine) == plain == definition(other_engine)


def move(engine: Engine, revision: str) -> None:
    """Upgrade to this revision."""
    with engine.begin() as connection:
        command.upgrade(configuration(connection), revision)


def test_drop_all_leaves_nothing(engine: Engine) -> None:
    """`drop_all` leaves nothing behind, no function either."""
    before = definition(engine)
    Base.metadata.create_all(engine)
    assert definition(engine) != before
    Base.metadata.drop_all(engine)
    assert definition(engine) == before


def test_database_of_a_newer_release(engine: Engine) -> None:
    """A revision that this release does not know is left alone."""
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with engine.connect() as connection:
        state = inspect_schema(connection)
    assert (state.is_current, state.is_known, state.pending) == (False, False, ())
    with pytest.raises(SchemaError, match="newer release"):
        upgrade(engine)


def test_steps_are_linear_and_well_named() -> None:
    """One head, one base, files named by revision and what they do, none imports the models.

    Of the library a step uses the operations that are made for migrations, and nothing else.
    """
    script = ScriptDirectory(_MIGRATIONS)
    assert len(script.get_heads()) == len(script.get_bases()) == 1
    assert revisions() == tuple(reversed([step.revision for step in script.walk_revisions()]))
    for step in script.walk_revisions():
        source = Path(step.path).read_text()
        assert re.fullmatch(rf"{step.revision}_[a-z0-9_]+\.py", Path(step.path).name)
        assert "auditspan" not in re.sub(r"auditspan db|from auditspan\.alembic", "", source)


def test_sqlite_file_is_closed_to_others(tmp_path: Path) -> None:
    """The directory that an upgrade makes for the database is closed to others."""
    folder = tmp_path / "deep" / "data"
    with engine_at(f"sqlite:///{folder / 'auditspan.db'}") as engine:
        upgrade(engine)
    assert folder.stat().st_mode & 0o777 == 0o700
