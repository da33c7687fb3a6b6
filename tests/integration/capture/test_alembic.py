"""Alembic makes the triggers: generated operations, and what they leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, inspect, text
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail, Policy
from integration.capture.application import Application
from integration.capture.migrations import Migrations, models, text_column, under_trail


def key() -> Column[Any]:
    """A primary key."""
    return Column("id", Integer, primary_key=True)


@pytest.fixture(params=[False, True], ids=["plain", "trail"])
def has_trail(request: pytest.FixtureRequest) -> bool:
    """Whether env.py imports the trail besides the models."""
    return bool(request.param)


def written(application: Application) -> list[str]:
    """Write one row by a second program's way, and the actions that are recorded."""
    with application.unit_of_work() as session:
        session.execute(text("INSERT INTO word (id) VALUES (1)"))
    return [event["action"] for event in application.events()]


def test_a_generated_migration_makes_tables_and_triggers(
    engine: Engine, tmp_path: Path, *, has_trail: bool
) -> None:
    """It runs as it was written, nothing is proposed afterwards, and writes are recorded."""
    migrations = Migrations(engine, tmp_path, models(key(), text_column("s")))
    if has_trail:
        under_trail(engine, migrations.metadata)
    source = migrations.generate()
    assert "auditspan.alembic.create_staging(op)" in source
    assert "auditspan.alembic.create_triggers(op, 'word')" in source
    migrations.upgrade()
    migrations.check()
    assert [] == migrations.problems()
    application = under_trail(engine, migrations.metadata) if not has_trail else None
    if application:
        assert ["word.create"] == written(application)
    migrations.downgrade("base")
    assert ["alembic_version"] == inspect(engine).get_table_names()
    assert {} == migrations.triggered()


def test_a_changed_column_and_policy_replace_the_triggers(
    engine: Engine, tmp_path: Path, *, has_trail: bool
) -> None:
    """Upgrade and downgrade leave the triggers of the models on either side."""
    before = models(key(), text_column("s"), audit=Policy(exclude={"s"}))
    after = models(key(), text_column("s"), text_column("more"))
    migrations = Migrations(engine, tmp_path, before)
    migrations.options["render_as_batch"] = not has_trail  # SQLite drops no column in use
    migrations.generate()
    migrations.upgrade()
    assert {"word": ["s"]} == migrations.triggered()
    if has_trail:
        under_trail(engine, after)
    source = migrations.generate(after)
    assert "auditspan.alembic.create_triggers(op, 'word')" in source
    assert "auditspan.alembic.create_triggers(op, 'word', exclude=['s'])" in source
    migrations.upgrade()
    migrations.check()
    assert [] == migrations.problems()
    migrations.downgrade()
    migrations.metadata = before
    assert [] == migrations.problems()


def test_a_dropped_column_is_dropped_from_the_triggers(engine: Engine, tmp_path: Path) -> None:
    """SQLite refuses to drop a column that a trigger names; the trail takes the trigger away."""
    before, after = (
        models(key(), text_column("s"), text_column("x")),
        models(key(), text_column("s")),
    )
    migrations = Migrations(engine, tmp_path, before)
    migrations.generate()
    migrations.upgrade()
    under_trail(engine, after)
    migrations.generate(after)
    migrations.upgrade()
    migrations.check()
    assert [] == migrations.problems()
    migrations.downgrade()
    migrations.metadata = before
    assert [] == migrations.problems()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_batch_mode_leaves_the_triggers(engine: Engine, tmp_path: Path, *, has_trail: bool) -> None:
    """The table is made anew, and so are its triggers, also where the revision does not say so."""
    migrations = Migrations(engine, tmp_path, models(key(), text_column("s")))
    application = under_trail(engine, migrations.metadata) if has_trail else None
    migrations.options["render_as_batch"] = True
    migrations.generate()
    migrations.upgrade()
    if application:
        migrations.write(
            """
            with op.batch_alter_table("word", recreate="always") as batch:
                batch.alter_column("s", nullable=False)
            """
        )
    else:
        migrations.generate(models(key(), Column("s", Integer, nullable=False)))
        migrations.metadata = models(key(), text_column("s"))
    migrations.upgrade()
    if application:
        assert [] == migrations.problems()
    else:
        assert {"word": []} == migrations.triggered()


def test_a_table_that_is_audited_no_more_loses_its_triggers(engine: Engine, tmp_path: Path) -> None:
    """And gets them back on the way back, with the columns that they left out."""
    columns = ("s",)
    before = models(key(), *map(text_column, columns), audit=Policy(exclude={"s"}))
    after = models(key(), *map(text_column, columns), audit=None)
    migrations = Migrations(engine, tmp_path, before)
    migrations.generate()
    migrations.upgrade()
    under_trail(engine, after)
    assert "auditspan.alembic.drop_triggers(op, 'word')" in migrations.generate(after)
    migrations.upgrade()
    assert {} == migrations.triggered()
    migrations.check()
    migrations.downgrade()
    assert {"word": ["s"]} == migrations.triggered()


def test_a_renamed_table_takes_the_triggers_of_its_new_name(engine: Engine, tmp_path: Path) -> None:
    """By hand, since Alembic cannot see that a table was renamed."""
    migrations = Migrations(engine, tmp_path, models(key(), text_column("s")))
    migrations.generate()
    migrations.upgrade()
    migrations.metadata = models(key(), text_column("s"), name="term")
    migrations.write(
        """
        import auditspan.alembic
        op.rename_table("word", "term")
        auditspan.alembic.create_triggers(op, "term")
        """
    )
    migrations.upgrade()
    assert {"term": []} == migrations.triggered()
    assert [] == migrations.problems()
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            names = text("SELECT count(*) FROM pg_proc WHERE proname LIKE 'auditspan%word'")
            assert 0 == connection.scalar(names)
    migrations.check()


def test_a_table_that_is_dropped_takes_its_triggers_along(engine: Engine, tmp_path: Path) -> None:
    """Nothing of its functions is left."""
    migrations = Migrations(engine, tmp_path, models(key(), text_column("s")))
    migrations.generate()
    migrations.upgrade()
    after = models(key(), name="other")
    assert "auditspan.alembic.drop_triggers(op, 'word')" in migrations.generate(after)
    migrations.upgrade()
    assert {"other": []} == migrations.triggered()
    migrations.downgrade()
    assert {"word": []} == migrations.triggered()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_script_for_a_database_administrator_has_the_triggers(
    engine: Engine, tmp_path: Path, dialect: str
) -> None:
    """With `--sql` the statements are printed, and no database is asked."""
    migrations = Migrations(engine, tmp_path, models(key(), text_column("100%")))
    migrations.write(
        """
        import auditspan.alembic
        auditspan.alembic.create_staging(op)
        auditspan.alembic.create_triggers(op, "word", exclude=["100%"])
        """
    )
    script = migrations.script(dialect)
    assert {"sqlite": 7, "postgresql": 5}[dialect] == script.count("CREATE TRIGGER")
    assert "%%" not in script


def test_operations_work_on_tables_that_the_models_do_not_have(
    engine: Engine, tmp_path: Path
) -> None:
    """An old revision speaks of a table that is gone by now."""
    migrations = Migrations(engine, tmp_path, models(key()))
    migrations.generate()
    migrations.write(
        """
        import auditspan.alembic
        key = sa.Column("id", sa.Integer, primary_key=True)
        op.create_table("gone", key, sa.Column("s", sa.Text))
        auditspan.alembic.create_triggers(op, "gone", exclude=["s"])
        """,
        """
        import auditspan.alembic
        auditspan.alembic.drop_triggers(op, "gone")
        auditspan.alembic.drop_triggers(op, "gone")
        op.drop_table("gone")
        """,
    )
    migrations.upgrade()
    assert {"gone": ["s"], "word": []} == migrations.triggered()
    migrations.downgrade()
    assert {"word": []} == migrations.triggered()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_schema_of_its_own(engine: Engine, tmp_path: Path) -> None:
    """Tables of a schema are named with it."""
    metadata = models(key())
    Table("other", metadata, key(), schema="apart", info={"audit": True})
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA apart")
    migrations = Migrations(engine, tmp_path, metadata)
    migrations.options["include_schemas"] = True
    source = migrations.generate()
    assert "auditspan.alembic.create_triggers(op, 'other', schema='apart')" in source
    migrations.upgrade()
    migrations.check()
    assert [] == migrations.problems()
    migrations.downgrade("base")
    assert {} == migrations.triggered()


def test_a_trail_of_another_schema_does_not_stop_a_migration(
    engine: Engine, tmp_path: Path
) -> None:
    """A trail whose engine is not known yet, and whose tables are elsewhere, is left alone."""
    elsewhere = MetaData(schema="tenant")
    trail = AuditTrail(sessionmaker(), metadata=elsewhere, mac_key=None)
    migrations = Migrations(engine, tmp_path, models(key(), text_column("s")))
    migrations.generate()
    migrations.upgrade()
    migrations.write("""op.execute("INSERT INTO word (id, s) VALUES (1, 'a')")""")
    migrations.upgrade()
    migrations.downgrade("base")
    assert {} == migrations.triggered()
    assert elsewhere is trail.tables.event.metadata
