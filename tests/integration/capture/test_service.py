"""The service's schema, guards and roles where triggers capture changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic import command
from click.testing import CliRunner
from sqlalchemy import Column, Engine, Integer, MetaData, Table, text

from auditspan.capture import busy
from auditspan.format import ErasureKey
from auditspan.seal.guards.check import check_guards, restore_guards
from auditspan.seal.undrained import Undrained
from auditspan.storage import EventFilter, add_erasure_keys, find_events
from auditspan.storage.partitions.postgresql import partitioning
from auditspan.storage.tables import audit_tables
from auditspan_service.cli import main
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import configuration, upgrade
from auditspan_service.models import Base
from support.migrated import migrated_sqlite
from support.postgres import migrated_database
from support.roles import Deployed, deployed_database

TABLES = audit_tables(Base.metadata)


@pytest.fixture
def erasure_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that the service's erasable values need."""
    monkeypatch.setattr(Base.metadata, "info", dict(Base.metadata.info))
    add_erasure_keys(Base.metadata, [ErasureKey.from_secret(bytes(32))])


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A migrated database of the service."""
    with ExitStack() as stack:
        is_file = request.param == "sqlite"
        path = tmp_path / "service.db"
        url = migrated_sqlite(path) if is_file else stack.enter_context(migrated_database())
        made = make_engine(url)
        yield made
        made.dispose()


def found(engine: Engine, kind: str) -> list[str]:
    """What is wrong with the database, of one kind."""
    with engine.connect() as connection:
        return [one.detail for one in check_guards(connection, TABLES) if one.kind == kind]


def execute(engine: Engine, *statements: str) -> None:
    """Change the database by another program, which knows nothing of the trail."""
    connection = engine.raw_connection()
    for statement in statements:
        connection.cursor().execute(statement)
    connection.commit()
    connection.close()


def test_an_upgrade_makes_what_the_service_needs(database: Engine) -> None:
    """Nothing is missing, and nothing is foreign."""
    assert ([], []) == (found(database, "trigger"), found(database, "foreign"))


def test_the_way_back_takes_triggers_and_functions_away(database: Engine) -> None:
    """And the step can be made again."""
    with database.begin() as connection:
        command.downgrade(configuration(connection), "0002")
    names = {
        "sqlite": "SELECT name FROM sqlite_master WHERE name LIKE 'auditspan_%'",
        "postgresql": "SELECT proname FROM pg_proc WHERE proname LIKE 'auditspan_%%'",
    }
    with database.connect() as connection:
        left = connection.exec_driver_sql(names[database.dialect.name]).scalars().all()
    assert [] == left
    upgrade(database)
    assert [] == found(database, "trigger")


WEAK = {
    "missing": (
        "DROP TRIGGER auditspan_users_insert",
        'DROP TRIGGER "00_auditspan_insert" ON users',
        ("auditspan_users_insert of table users is missing", "on table users does not exist"),
    ),
    "no table": (
        "DROP TABLE audit_change",
        "DROP TABLE audit_change",
        ("Table audit_change does not exist", "Table audit_change does not exist"),
    ),
    "changed": (
        (
            "DROP TRIGGER auditspan_users_insert;"
            "CREATE TRIGGER auditspan_users_insert AFTER INSERT ON users BEGIN SELECT 1; END"
        ),
        (
            "CREATE OR REPLACE FUNCTION auditspan_stage_users() RETURNS trigger LANGUAGE plpgsql"
            " SECURITY DEFINER AS 'BEGIN RETURN NULL; END'"
        ),
        ("auditspan_users_insert of table users has been changed", "auditspan_stage_users differs"),
    ),
}


@pytest.mark.parametrize("case", WEAK)
def test_db_guard_reports_and_repairs_missing_guards(
    database: Engine, case: str, tmp_path: Path
) -> None:
    """`db check` says so and fails, `db guard` puts it right, and `db check` agrees."""
    sqlite, postgresql, sentences = WEAK[case]
    is_sqlite = database.dialect.name == "sqlite"
    execute(database, *(sqlite if is_sqlite else postgresql).split(";", 1 if is_sqlite else 0))
    environ = {
        "AUDITSPAN_DATA_DIR": str(tmp_path),
        "AUDITSPAN_DATABASE_URL": database.url.render_as_string(hide_password=False),
    }

    def run(name: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["db", name], env=environ)
        return done.exit_code, done.output

    sentence = sentences[0 if is_sqlite else 1]
    code, said = run("check")
    assert (1, True) == (code, sentence in said)
    code, said = run("guard")
    assert (0, True) == (code, sentence in said)
    assert 0 == run("check")[0]
    assert [] == found(database, "trigger")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ('ALTER TABLE users DISABLE TRIGGER "00_auditspan_update"', "is disabled"),
        ("ALTER TABLE users DISABLE TRIGGER ALL", "is disabled"),
        (
            'ALTER TABLE users ENABLE TRIGGER "00_auditspan_update"',
            "is not ENABLE ALWAYS, so session_replication_role disables it",
        ),
        ("DROP FUNCTION auditspan_drain(integer)", "auditspan_drain does not exist"),
        ("ALTER TABLE audit_change ADD PRIMARY KEY (id)", "audit_change has an index"),
        ("ALTER TABLE audit_change REPLICA IDENTITY DEFAULT", "not REPLICA IDENTITY FULL"),
        (
            "ALTER FUNCTION auditspan_drain(integer) RESET ALL",
            "auditspan_drain has unexpected settings",
        ),
        (
            "ALTER TABLE audit_event DISABLE TRIGGER audit_event_recorded",
            "audit_event_recorded on audit_event is missing or changed",
        ),
        ("DROP FUNCTION auditspan_recorded() CASCADE", "auditspan_recorded does not exist"),
    ],
)
def test_a_disabled_trigger_is_named_and_enabled_again(
    database: Engine, statement: str, sentence: str
) -> None:
    """Also one that `session_replication_role` would switch off, and the function of the drain."""
    execute(database, statement)
    (first, *_) = found(database, "trigger")
    assert sentence in first
    with database.begin() as connection:
        restore_guards(connection, TABLES)
    assert [] == found(database, "trigger")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_partitioned_trail_keeps_the_trigger_that_removes_drained_rows(database: Engine) -> None:
    """Partitioning moves the trigger from the old table to the new one."""
    with database.begin() as connection, busy(connection):
        for statement in partitioning(TABLES.event, TABLES.leaf, connection.dialect):
            connection.execute(statement)
    assert ([], []) == (found(database, "trigger"), found(database, "foreign"))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_foreign_trigger_before_ours_is_named(database: Engine) -> None:
    """What it writes would be staged in the wrong order."""
    execute(
        database,
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        'CREATE TRIGGER "000" AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION nothing()',
    )
    (sentence,) = found(database, "foreign")
    assert "trigger 000 on users fires before 00_auditspan_insert" in sentence


def test_a_foreign_trigger_on_the_staging_table_is_named(database: Engine) -> None:
    """It could keep changes from the trail."""
    statements = {
        "sqlite": "CREATE TRIGGER other BEFORE INSERT ON audit_change BEGIN SELECT 1; END",
        "postgresql": ("CREATE RULE other AS ON INSERT TO audit_change DO INSTEAD NOTHING"),
    }
    execute(database, statements[database.dialect.name])
    (sentence,) = found(database, "foreign")
    assert "other on audit_change" in sentence


def test_a_table_that_no_model_audits_any_more_is_named(database: Engine) -> None:
    """Its changes are staged and kept; that is a warning."""
    other = MetaData()
    Table("users", other, Column("id", Integer, primary_key=True), info={"audit": True})
    tables = audit_tables(other)
    with database.connect() as connection:
        said = [one.detail for one in check_guards(connection, tables) if one.kind == "setting"]
    assert [
        f"The table {name} has auditspan's triggers" for name in ("api_keys", "roles", "user_roles")
    ] == [one.partition(",")[0] for one in said]


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    """The roles and rights of a deployment."""
    with deployed_database() as made:
        yield made


def as_role(deployed: Deployed, role: str) -> Engine:
    """An engine of this role."""
    return make_engine(deployed.url(role))


def test_deployed_roles_have_the_rights_that_they_need(deployed: Deployed) -> None:
    """No role has a finding; the owner is told that it must not serve."""
    for role in ("app", "worker", "auditor"):
        engine = as_role(deployed, role)
        assert ([], []) == (found(engine, "role"), found(engine, "trigger"))
        engine.dispose()


@pytest.mark.usefixtures("erasure_key")
def test_the_service_writes_and_the_worker_records_what_it_did_not(deployed: Deployed) -> None:
    """By the rights of grants.sql alone."""
    engine = as_role(deployed, "app")
    now = "2026-01-01T00:00:00Z"
    values = f"(username, active, created_at, updated_at, version) VALUES ('kim', true, '{now}',"
    execute(engine, f"INSERT INTO users {values} '{now}', 1)")
    engine.dispose()
    worker = as_role(deployed, "worker")
    assert 1 == Undrained(worker, TABLES).take()
    with worker.connect() as connection:
        actors = connection.execute(text("SELECT action, actor_id FROM audit_event")).all()
    assert [("user.create", deployed.role("app"))] == [tuple(row) for row in actors]
    worker.dispose()


@pytest.mark.usefixtures("erasure_key")
def test_drained_changes_without_audit_row_are_recorded_by_the_worker(deployed: Deployed) -> None:
    """A role that drains its own transaction and discards the rows cannot hide a write."""
    engine = as_role(deployed, "app")
    execute(
        engine,
        "INSERT INTO users (username, active, created_at, updated_at, version)"
        " VALUES ('mallory', true, now(), now(), 1)",
        "SELECT FROM auditspan_drain(NULL)",
    )
    engine.dispose()
    worker = as_role(deployed, "worker")
    Undrained(worker, TABLES).take()
    with worker.connect() as connection:
        events = [one.members() for one in find_events(connection, TABLES, EventFilter())]
        found = [
            (one["action"], one["actor"]["type"])
            for one in events
            if "mallory" in str(one["changes"])
        ]
        assert [("user.create", "database")] == found
    worker.dispose()


@pytest.mark.parametrize(
    ("role", "take", "give", "sentence"),
    [
        (
            "app",
            "REVOKE EXECUTE ON FUNCTION auditspan_drain(integer) FROM {app}",
            "GRANT EXECUTE ON FUNCTION auditspan_drain(integer) TO {app}",
            "may not EXECUTE auditspan_drain",
        ),
        (
            "app",
            "REVOKE USAGE ON SEQUENCE audit_change_id_seq FROM {app}",
            "GRANT USAGE ON SEQUENCE audit_change_id_seq TO {app}",
            "may not USE the sequence",
        ),
        (
            "app",
            "GRANT DELETE ON audit_change TO {app}",
            "REVOKE DELETE ON audit_change FROM {app}",
            "could hide what it writes",
        ),
        (
            "app",
            "ALTER TABLE api_keys OWNER TO {app}",
            "ALTER TABLE api_keys OWNER TO {owner}",
            "owns api_keys",
        ),
        (
            "worker",
            "REVOKE DELETE ON audit_change FROM {worker}",
            "GRANT DELETE ON audit_change TO {worker}",
            "may not record the changes of other programs",
        ),
    ],
)
def test_a_missing_or_dangerous_grant_is_named(
    deployed: Deployed, role: str, take: str, give: str, sentence: str
) -> None:
    """With the role, and what follows from it."""
    engine = as_role(deployed, role)
    deployed.run(take)
    try:
        (said,) = found(engine, "role")
    finally:
        deployed.run(give)
        engine.dispose()
    assert (True, True) == (sentence in said, deployed.role(role) in said)
