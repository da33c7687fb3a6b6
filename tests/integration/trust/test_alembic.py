"""The audit tables by an application's own Alembic migration, as autogenerate writes it."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, create_engine, inspect

from auditspan.alembic.operations import create_guards, drop_guards
from auditspan.seal.guards.check import check_guards
from auditspan.storage.tables import audit_tables

METADATA = MetaData()
TABLES = audit_tables(METADATA)
Table("thing", METADATA, Column("id", Integer(), primary_key=True))


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    url = f"sqlite:///{tmp_path / 'application.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    yield engine
    engine.dispose()


def missing(connection: Connection) -> list[str]:
    """Return the findings about the triggers."""
    return [f.detail for f in check_guards(connection, TABLES) if f.kind == "trigger"]


ENVIRONMENT = """
from alembic import context
import auditspan.alembic.autogenerate

given = context.config.attributes
context.configure(
    connection=given["connection"], target_metadata=given["metadata"]
)
with context.begin_transaction():
    context.run_migrations()
"""


def test_a_generated_migration_with_its_guards(engine: Engine, tmp_path: Path) -> None:
    """It runs as it was written, with the guards at its end; then there is nothing to propose."""
    config = Config(stdout=StringIO())
    config.set_main_option("script_location", str(tmp_path / "migrations"))
    config.config_file_name = str(tmp_path / "alembic.ini")
    command.init(config, str(tmp_path / "migrations"))
    (tmp_path / "migrations" / "env.py").write_text(ENVIRONMENT)
    with engine.begin() as connection:
        config.attributes.update(connection=connection, metadata=METADATA)
        command.revision(config, "first", autogenerate=True)
        command.upgrade(config, "head")
        command.check(config)
        assert [] == missing(connection)
        command.downgrade(config, "base")
        assert ["alembic_version"] == inspect(connection).get_table_names()


def test_guards_can_be_made_again_and_dropped(engine: Engine) -> None:
    """Both ways may be run twice, and dropping leaves nothing of them."""
    with engine.begin() as connection:
        op = Operations(MigrationContext.configure(connection))
        METADATA.create_all(connection)
        for step in (create_guards, create_guards):
            step(op)
            assert [] == missing(connection)
        for step in (drop_guards, drop_guards):
            step(op)
            assert missing(connection)
        METADATA.drop_all(connection)
        assert [] == inspect(connection).get_table_names()


def test_a_batch_migration_on_sqlite_needs_them_again(tmp_path: Path) -> None:
    """It makes the table anew, without its triggers; the guards say so until they are back.

    They are dropped first: one of `audit_event` names the other tables.
    """
    engine = create_engine(f"sqlite:///{tmp_path / 'application.db'}")
    with engine.begin() as connection:
        METADATA.create_all(connection)
        op = Operations(MigrationContext.configure(connection))
        drop_guards(op)
        with op.batch_alter_table("audit_leaf", recreate="always"):
            pass
        assert 16 == len(missing(connection))
        create_guards(op)
        assert [] == missing(connection)
    engine.dispose()


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_script_for_a_database_administrator(dialect: str) -> None:
    """With `--sql` the statements are printed, and no database is asked."""
    script = StringIO()
    options = {"as_sql": True, "output_buffer": script}
    op = Operations(MigrationContext.configure(dialect_name=dialect, opts=options))
    create_guards(op)
    expected = {"sqlite": 16, "postgresql": 8}[dialect]
    assert expected == script.getvalue().count("CREATE TRIGGER audit_")
