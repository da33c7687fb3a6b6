"""An application that imports its trail in env.py migrates; what that changes is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, create_engine, text
from sqlalchemy.orm import sessionmaker

from auditspan import Actor, AuditTrail, Policy, audit_context
from auditspan.capture.undrained import unknown_tables
from integration.capture.application import Application
from integration.capture.migrations import Migrations, models, text_column, under_trail

TRAIL = """
import auditspan.alembic
from auditspan.storage import audit_tables
tables = audit_tables(sa.MetaData())
for table in tables.event.metadata.sorted_tables:
    table.create(op.get_bind())
"""
"""A revision that makes the audit tables, and nothing else: older ones had no triggers."""


def key() -> Column[Any]:
    """A primary key."""
    return Column("id", Integer, primary_key=True)


def head() -> MetaData:
    """The models of today: a word has been renamed to a term, and lost its secret."""
    metadata = models(key(), text_column("s"), text_column("more"), name="term")
    Table("kept", metadata, key(), Column("s", Text), info={"audit": Policy(exclude={"s"})})
    return metadata


@pytest.fixture
def application(engine: Engine) -> Application:
    """The application of today, without a table."""
    return under_trail(engine, head())


def history(migrations: Migrations) -> None:
    """Five old revisions with raw SQL, Core and a session, the trail in the middle."""
    migrations.write(
        """
        op.create_table("word", sa.Column("id", sa.Integer, primary_key=True),
                        sa.Column("secret", sa.Text))
        op.create_table("kept", sa.Column("id", sa.Integer, primary_key=True),
                        sa.Column("s", sa.Text))
        op.execute("INSERT INTO word VALUES (1, 'planted')")
        op.bulk_insert(sa.table("kept", sa.column("id")), [{"id": 1}, {"id": 2}])
        """,
        "op.drop_table('kept'); op.drop_table('word')",
    )
    migrations.write(
        TRAIL,
        """
        import auditspan.alembic
        for table in ("kept", "word"):
            auditspan.alembic.drop_triggers(op, table)
        auditspan.alembic.drop_staging(op)
        for table in ("event", "leaf", "checkpoint", "delivery", "delivery_status", "disclosure",
                      "subject_key"):
            op.drop_table(f"audit_{table}")
        op.drop_table("audit_quarantine")
        op.drop_table("audit_change")
        """,
    )
    migrations.write(
        """
        from sqlalchemy.orm import Session
        op.add_column("word", sa.Column("s", sa.Text))
        session = Session(op.get_bind())
        session.execute(sa.text("UPDATE word SET s = secret"))
        session.execute(sa.text("UPDATE kept SET s = 'planted' WHERE id = 1"))
        session.flush()
        op.execute("UPDATE kept SET s = 'x', id = 3 WHERE id = 2")
        """,
        "op.drop_column('word', 's')",
    )
    migrations.write(
        """
        op.drop_column("word", "secret")
        op.rename_table("word", "term")
        op.execute("DELETE FROM kept")
        op.execute("INSERT INTO term VALUES (2, 'b'), (3, 'c')")
        """,
        """
        op.execute("INSERT INTO kept (id) VALUES (9)")
        op.rename_table("term", "word")
        op.add_column("word", sa.Column("secret", sa.Text))
        """,
    )
    migrations.write(
        """
        op.add_column("term", sa.Column("more", sa.Text))
        op.execute("UPDATE term SET more = s")
        """,
        "op.drop_column('term', 'more')",
    )


def test_old_revisions_run_and_are_recorded_once_the_tables_exist(
    application: Application, tmp_path: Path
) -> None:
    """From an empty database to the models of today, without an operation for triggers."""
    migrations = Migrations(application.engine, tmp_path, application.metadata)
    history(migrations)
    migrations.upgrade()
    assert [] == migrations.problems()
    events = application.events()
    assert {"migration.statement"} == {event["action"] for event in events}
    assert {("system", "alembic")} == {(e["actor"]["type"], e["actor"]["id"]) for e in events}
    counts = [tuple(e["metadata"][m] for m in ("table", "statement", "rows")) for e in events]
    assert sorted(counts) == sorted(
        [
            ("kept", "update", 1),
            ("kept", "delete", 2),
            ("term", "insert", 2),
            ("term", "update", 3),
        ]
    )
    with application.engine.connect() as connection:
        assert {} == unknown_tables(connection, application.metadata)
        assert "planted" not in str(connection.execute(text("SELECT * FROM audit_event")).all())


def test_a_migrated_application_records_what_it_writes(
    application: Application, tmp_path: Path
) -> None:
    """The triggers are those of the models."""
    migrations = Migrations(application.engine, tmp_path, application.metadata)
    history(migrations)
    migrations.upgrade()
    with application.unit_of_work() as session:
        session.execute(text("UPDATE term SET s = 'z' WHERE id = 2"))
    last = application.events()[-1]
    assert ("term.update", {"s": {"old": "b", "new": "z"}}) == (last["action"], last["changes"])


def test_the_way_back_is_recorded_as_long_as_there_is_a_trail(
    application: Application, tmp_path: Path
) -> None:
    """Downgrades run, and end without a table."""
    migrations = Migrations(application.engine, tmp_path, application.metadata)
    history(migrations)
    migrations.upgrade()
    before = len(application.events())
    migrations.downgrade("0003")
    assert [("insert", 1)] == [
        (e["metadata"]["statement"], e["metadata"]["rows"]) for e in application.events()[before:]
    ]
    migrations.downgrade("base")
    migrations.upgrade()
    assert [] == migrations.problems()


def test_one_transaction_per_migration_is_recorded_alike(
    application: Application, tmp_path: Path
) -> None:
    """Each revision leaves its records with its changes."""
    migrations = Migrations(application.engine, tmp_path, application.metadata)
    migrations.options["transaction_per_migration"] = True
    history(migrations)
    migrations.upgrade()
    counted = [e["metadata"]["rows"] for e in application.events()]
    assert [1, 2, 2, 3] == sorted(counted)
    assert [] == migrations.problems()


def test_rows_are_recorded_one_by_one_when_asked(engine: Engine, tmp_path: Path) -> None:
    """With the values that the columns hold."""
    application = under_trail(engine, models(key(), text_column("s")))
    migrations = Migrations(engine, tmp_path, application.metadata)
    migrations.generate()
    migrations.write(
        """
        from auditspan.alembic import record_rows
        op.execute("INSERT INTO word VALUES (1, 'a')")
        with record_rows():
            op.execute("UPDATE word SET s = 'b'")
        op.execute("DELETE FROM word")
        """
    )
    migrations.upgrade()
    assert sorted(["migration.statement", "migration.statement", "word.update"]) == sorted(
        e["action"] for e in application.events()
    )
    assert ["b"] == application.news("s")
    assert {"alembic"} == {e["actor"]["id"] for e in application.events()}


def test_an_actor_who_is_named_is_recorded(engine: Engine, tmp_path: Path) -> None:
    """`Actor.system("alembic")` is what nobody else has said."""
    application = under_trail(engine, models(key()))
    migrations = Migrations(engine, tmp_path, application.metadata)
    migrations.generate()
    migrations.write("op.execute('INSERT INTO word VALUES (1)')")
    with audit_context(actor=Actor.user(7), reason="release 3"):
        migrations.upgrade()
    (event,) = application.events()
    assert (("user", "7"), "release 3") == (
        (event["actor"]["type"], event["actor"]["id"]),
        event["reason"],
    )


def test_another_engine_than_the_applications_migrates(engine: Engine, tmp_path: Path) -> None:
    """As with a role of its own: the trail is known by the target metadata."""
    metadata = models(key())
    elsewhere = create_engine("sqlite:///" + str(tmp_path / "elsewhere.db"))
    application = under_trail(elsewhere, metadata)
    migrations = Migrations(engine, tmp_path, metadata)
    migrations.generate()
    migrations.write("op.execute('INSERT INTO word VALUES (1)')")
    migrations.upgrade()
    with engine.connect() as connection:
        actions = connection.scalars(text("SELECT action FROM audit_event")).all()
    assert ["migration.statement"] == list(actions)
    assert application.engine is elsewhere
    elsewhere.dispose()


def test_a_migration_that_fails_leaves_no_record(engine: Engine, tmp_path: Path) -> None:
    """What is rolled back has not happened."""
    application = under_trail(engine, models(key()))
    migrations = Migrations(engine, tmp_path, application.metadata)
    migrations.generate()
    migrations.upgrade()
    migrations.write(
        """
        op.execute("INSERT INTO word VALUES (1)")
        raise ZeroDivisionError
        """
    )
    with pytest.raises(ZeroDivisionError):
        migrations.upgrade()
    assert [] == application.events()


def test_hundreds_of_statements_in_one_migration(engine: Engine, tmp_path: Path) -> None:
    """One record for each table and operation, however many statements there were."""
    application = under_trail(engine, models(key(), text_column("s")))
    migrations = Migrations(engine, tmp_path, application.metadata)
    migrations.generate()
    migrations.write(
        """
        for n in range(300):
            op.execute(f"INSERT INTO word VALUES ({n}, 'a')")
        """
    )
    migrations.upgrade()
    assert [300] == [event["metadata"]["rows"] for event in application.events()]


def test_a_trail_without_bound_sessions_is_found(engine: Engine, tmp_path: Path) -> None:
    """As with Flask-SQLAlchemy, whose sessions know their engine only in an application."""
    metadata = models(key())
    sessions = sessionmaker()
    AuditTrail(sessions, metadata=metadata)
    migrations = Migrations(engine, tmp_path, metadata)
    migrations.generate()
    migrations.write("op.execute('INSERT INTO word VALUES (1)')")
    migrations.upgrade()
    with engine.connect() as connection:
        actions = connection.scalars(text("SELECT action FROM audit_event")).all()
    assert ["migration.statement"] == list(actions)
    with sessions(bind=engine) as session:
        session.connection()  # from here on the trail is this engine's, and no longer any engine's
