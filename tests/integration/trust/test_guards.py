"""Problems of a live database are found, and reported in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, MetaData, create_engine, event, text

from auditspan.errors import UnprotectedTrailError
from auditspan.seal.guards import Finding, check_guards, require_guards, restore_guards
from auditspan.storage.tables import audit_tables
from support.cluster import Cluster
from support.roles import Deployed, deployed_database

TABLES = audit_tables(MetaData())
NAMES = {
    "sqlite": ("no_update", "no_delete", "no_replace", "positive"),
    "postgresql": ("append_only", "no_truncate"),
}
GUARDED = ("audit_event", "audit_leaf", "audit_checkpoint", "audit_quarantine")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with the audit tables, on PostgreSQL as its superuser."""
    url = f"sqlite:///{tmp_path / 'trail.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    TABLES.event.metadata.create_all(engine)
    yield engine
    engine.dispose()


def findings(engine: Engine, kind: str, *before: str) -> list[str]:
    """The sentences of this kind, after these statements on the same connection."""
    with engine.connect() as connection:
        for statement in before:
            connection.exec_driver_sql(statement)
        connection.commit()
        return [f.detail for f in check_guards(connection, TABLES) if f.kind == kind]


def test_every_missing_trigger_is_named(engine: Engine) -> None:
    """One sentence for each, and none when they have been put back."""
    assert [] == findings(engine, "trigger")
    gone: list[tuple[str, str]] = []
    said: list[str] = []
    for table in GUARDED:
        for name in NAMES[engine.dialect.name]:
            of = f" ON {table}" if engine.dialect.name == "postgresql" else ""
            gone.append((f"{table}_{name}", table))
            said = findings(engine, "trigger", f"DROP TRIGGER {table}_{name}{of}")
            assert len(gone) == len(said)
    expected = [f"The trigger {trigger} on {table} is missing" for trigger, table in gone]
    assert expected == [sentence.partition(":")[0] for sentence in said]
    with engine.begin() as connection:
        restore_guards(connection, TABLES)
    assert [] == findings(engine, "trigger")


def test_no_tables_at_all(tmp_path: Path, postgres_url: str) -> None:
    """If the tables are missing, that is the finding."""
    for url in (f"sqlite:///{tmp_path / 'empty.db'}", postgres_url):
        engine = create_engine(url)
        said = findings(engine, "trigger")
        tables = (*GUARDED, "audit_change")
        assert [f"Table {table} does not exist" for table in tables] == [
            s[: s.index(",")] for s in said
        ]
        engine.dispose()


CALL = "FOR EACH ROW EXECUTE FUNCTION auditspan_refuse_change()"
MAKE = "DROP TRIGGER audit_leaf_append_only ON audit_leaf; CREATE TRIGGER audit_leaf_append_only "
ALWAYS = "; ALTER TABLE audit_leaf ENABLE ALWAYS TRIGGER audit_leaf_append_only"
WEAKENED = {
    "ALTER TABLE audit_leaf DISABLE TRIGGER USER": "is disabled",
    "ALTER TABLE audit_leaf DISABLE TRIGGER audit_leaf_append_only": "is disabled",
    "ALTER TABLE audit_leaf ENABLE TRIGGER audit_leaf_append_only": "can be bypassed",
    "ALTER TABLE audit_leaf ENABLE REPLICA TRIGGER audit_leaf_append_only": "can be bypassed",
    f"{MAKE} BEFORE UPDATE ON audit_leaf {CALL}{ALWAYS}": "differs from",
    f"{MAKE} AFTER UPDATE OR DELETE ON audit_leaf {CALL}{ALWAYS}": "differs from",
    f"{MAKE} BEFORE UPDATE OF seq OR DELETE ON audit_leaf {CALL}{ALWAYS}": "differs from",
    f"{MAKE} BEFORE UPDATE OR DELETE ON audit_leaf FOR EACH ROW WHEN (OLD.seq > 5) "
    f"EXECUTE FUNCTION auditspan_refuse_change(){ALWAYS}": "differs from",
    "CREATE OR REPLACE FUNCTION auditspan_refuse_change() RETURNS trigger LANGUAGE plpgsql "
    "AS 'BEGIN RETURN OLD; END'": "differs from",
}


@pytest.mark.parametrize("weakening", WEAKENED)
def test_a_trigger_that_was_weakened_on_postgresql(postgres_url: str, weakening: str) -> None:
    """It is not enough that a trigger of this name is there."""
    engine = create_engine(postgres_url)
    TABLES.event.metadata.create_all(engine)
    said = findings(engine, "trigger", weakening)
    assert said
    assert all(WEAKENED[weakening] in one for one in said)
    with engine.begin() as connection:
        restore_guards(connection, TABLES)
    assert [] == findings(engine, "trigger")
    engine.dispose()


def test_a_trigger_that_was_weakened_on_sqlite(tmp_path: Path) -> None:
    """A trigger with another text is named, though the name is right."""
    engine = create_engine(f"sqlite:///{tmp_path / 'trail.db'}")
    TABLES.event.metadata.create_all(engine)
    weak = "CREATE TRIGGER audit_leaf_no_delete BEFORE DELETE ON audit_leaf BEGIN SELECT 1; END"
    (said,) = findings(engine, "trigger", "DROP TRIGGER audit_leaf_no_delete", weak)
    assert "audit_leaf_no_delete on audit_leaf differs from that of this release" in said
    engine.dispose()


NULL_TRIGGER = (
    "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
    "CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION swallow()"
)
RULE = "CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING"
FOREIGN = {
    "sqlite": {
        "trigger mine": "CREATE TRIGGER mine AFTER INSERT ON {table} BEGIN SELECT 1; END",
        "trigger passing": "CREATE TEMP TRIGGER passing BEFORE INSERT ON main.{table} "
        "BEGIN SELECT RAISE(IGNORE); END",
    },
    "postgresql": {
        "trigger mine": NULL_TRIGGER,
        "rule mine": RULE,
        "row security policy": "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    },
}


@pytest.mark.parametrize("table", [*GUARDED, "audit_delivery"])
def test_rule_trigger_or_policy_of_others_breaks_a_promise(engine: Engine, table: str) -> None:
    """Whatever could drop or hide rows of an audit table is named, and refused at the start."""
    ways = FOREIGN[engine.dialect.name]
    said = findings(engine, "foreign", *(way.format(table=table) for way in ways.values()))
    expected = {f"There is a {what} on {table} that is not auditspan's" for what in ways}
    assert expected == {sentence.partition(":")[0] for sentence in said}
    assert [] == findings(engine, "trigger")
    with engine.connect() as connection, pytest.raises(UnprotectedTrailError):
        require_guards(connection, TABLES, tolerated={"role", "durability"})


INDEXES = {
    "DROP INDEX ix_audit_event_event_id": ("index", "The unique index ix_audit_event_event_id"),
    "DROP INDEX ix_audit_leaf_row_id": ("index", "The unique index ix_audit_leaf_row_id"),
    "DROP INDEX ix_audit_leaf_event_id": ("index", "The unique index ix_audit_leaf_event_id"),
    "DROP INDEX ix_audit_event_actor": ("setting", "The index ix_audit_event_actor"),
    "CREATE UNIQUE INDEX mine ON audit_leaf (leaf_hash)": ("index", "The unique index mine"),
}


@pytest.mark.parametrize("change", INDEXES)
def test_missing_or_foreign_index_is_named(engine: Engine, change: str) -> None:
    """A missing or foreign unique index breaks a promise; a missing plain one is a warning."""
    kind, sentence = INDEXES[change]
    assert [] == findings(engine, "index")
    said = findings(engine, kind, change)
    assert 1 == sum(one.startswith(sentence) for one in said)


def test_index_that_is_no_longer_unique_is_named(engine: Engine) -> None:
    """A plain index in place of a unique one is a finding."""
    made = "CREATE INDEX ix_audit_leaf_row_id ON audit_leaf (row_id)"
    (said,) = findings(engine, "index", "DROP INDEX ix_audit_leaf_row_id", made)
    assert said.startswith("The unique index ix_audit_leaf_row_id on audit_leaf (row_id)")


SQLITE_SETTINGS = {
    ("FULL", "WAL", "ON"): [],
    ("EXTRA", "WAL", "ON"): [],
    ("NORMAL", "WAL", "ON"): [("durability", "synchronous")],
    ("OFF", "WAL", "ON"): [("durability", "synchronous")],
    ("FULL", "DELETE", "ON"): [("setting", "journal_mode")],
    ("FULL", "MEMORY", "ON"): [("durability", "journal_mode")],
    ("FULL", "WAL", "OFF"): [("setting", "foreign_keys")],
}


@pytest.mark.parametrize("settings", SQLITE_SETTINGS, ids="-".join)
def test_sqlite_settings(tmp_path: Path, settings: tuple[str, str, str]) -> None:
    """A setting that loses commits is refused; one that only helps is a warning."""
    engine = create_engine(f"sqlite:///{tmp_path / 'trail.db'}")
    TABLES.event.metadata.create_all(engine)
    synchronous, journal, foreign_keys = settings

    @event.listens_for(engine, "connect")
    def _configure(connection: object, _entry: object) -> None:
        connection.execute(f"PRAGMA journal_mode = {journal}")  # type: ignore[attr-defined]
        connection.execute(f"PRAGMA synchronous = {synchronous}")  # type: ignore[attr-defined]
        connection.execute(f"PRAGMA foreign_keys = {foreign_keys}")  # type: ignore[attr-defined]

    engine.dispose()  # so that it connects anew
    with engine.connect() as connection:
        found = check_guards(connection, TABLES)
    expected = SQLITE_SETTINGS[settings]
    assert [kind for kind, _ in expected] == [finding.kind for finding in found]
    for finding, (kind, word) in zip(found, expected, strict=True):
        assert finding.detail.startswith(f"PRAGMA {word} is ")
        assert (kind == "durability") == finding.breaks_a_promise
    engine.dispose()


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    """The roles and rights of a deployment."""
    with deployed_database() as place:
        yield place


def found_as(url: str, *before: str) -> list[Finding]:
    """Return the findings for this role."""
    engine = create_engine(url)
    with engine.connect() as connection:
        for statement in before:
            connection.execute(text(statement))
        found = check_guards(connection, TABLES)
    engine.dispose()
    return found


@pytest.mark.parametrize("role", ["app", "worker", "auditor"])
def test_deployed_roles_have_no_power_over_the_trail(deployed: Deployed, role: str) -> None:
    """The rights of deploy/postgres/grants.sql are what the guards ask for."""
    assert [] == found_as(deployed.url(role))


POWERS = {
    "GRANT UPDATE ON audit_leaf TO {app}": "may UPDATE on audit_leaf",
    "GRANT UPDATE (body) ON audit_event TO {app}": "may UPDATE on audit_event",
    "GRANT DELETE, TRUNCATE ON audit_event TO {app}": "may DELETE, TRUNCATE on audit_event",
    "GRANT DELETE ON audit_checkpoint TO PUBLIC": "may DELETE on audit_checkpoint",
    "GRANT pg_write_all_data TO {app}": "may UPDATE, DELETE on audit_checkpoint",
    "GRANT {owner} TO {app}": "owns audit_checkpoint",
    "GRANT {migrator} TO {app}": "owns audit_checkpoint",
    "ALTER TABLE audit_quarantine OWNER TO {app}": "owns audit_quarantine",
    "ALTER SCHEMA public OWNER TO {app}": "owns audit_checkpoint",
    "ALTER ROLE {app} SUPERUSER": "is a superuser",
    "GRANT pg_execute_server_program TO {app}": "can become pg_execute_server_program",
    "GRANT pg_write_server_files TO {app}": "can become pg_write_server_files",
    "ALTER ROLE {app} CREATEROLE": "which is connected, has CREATEROLE",
    "ALTER ROLE {auditor} CREATEROLE; GRANT {auditor} TO {app}": "which has CREATEROLE",
}
UNDO = {
    "ALTER TABLE audit_quarantine OWNER TO {app}": (
        "ALTER TABLE audit_quarantine OWNER TO {owner}; GRANT SELECT ON audit_quarantine TO {app}"
    ),
    "ALTER SCHEMA public OWNER TO {app}": (
        "ALTER SCHEMA public OWNER TO {owner}; GRANT USAGE ON SCHEMA public TO {app}"
    ),
    "ALTER ROLE {app} SUPERUSER": "ALTER ROLE {app} NOSUPERUSER",
    "ALTER ROLE {app} CREATEROLE": "ALTER ROLE {app} NOCREATEROLE",
    "ALTER ROLE {auditor} CREATEROLE; GRANT {auditor} TO {app}": (
        "ALTER ROLE {auditor} NOCREATEROLE; REVOKE {auditor} FROM {app}"
    ),
}


@pytest.mark.parametrize("grant", POWERS)
def test_a_role_with_power_over_the_trail_is_named(deployed: Deployed, grant: str) -> None:
    """By whichever way it has come to the power, and by the roles that it can become."""
    said = POWERS[grant]
    undo = UNDO.get(grant, grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
    deployed.run(grant)
    try:
        found = found_as(deployed.url("app"))
    finally:
        deployed.run(undo)
    assert {"role"} == {finding.kind for finding in found}
    assert any(said in finding.detail for finding in found), found
    assert [] == found_as(deployed.url("app"))


def test_a_superuser_who_steps_back_is_still_one(deployed: Deployed) -> None:
    """`SET ROLE` can be taken back: it is the session that counts."""
    url = deployed.superuser.render_as_string(hide_password=False)
    (found,) = found_as(url, f"SET ROLE {deployed.role('app')}")
    assert "is a superuser" in found.detail


def test_commits_that_a_crash_would_take_back(deployed: Deployed) -> None:
    """A session with `synchronous_commit = off` is told so."""
    (found,) = found_as(deployed.url("app"), "SET synchronous_commit = off")
    assert ("durability", True) == (found.kind, found.breaks_a_promise)
    assert found.detail.startswith("synchronous_commit is off")


def test_torn_pages_after_a_crash_are_refused() -> None:
    """A server with `full_page_writes = off` can lose pages that were written long before."""
    cluster = Cluster.make()
    with (cluster.folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write("full_page_writes = off\n")
    cluster.crash()
    cluster.start()
    engine = create_engine(cluster.url)
    TABLES.event.metadata.create_all(engine)
    (said,) = findings(engine, "durability")
    engine.dispose()
    cluster.destroy()
    assert said.startswith("full_page_writes is off: ")


def test_the_refusal_names_everything(tmp_path: Path) -> None:
    """`require_guards` raises one error with all sentences; kinds that are tolerated pass."""
    engine = create_engine(f"sqlite:///{tmp_path / 'trail.db'}")
    TABLES.event.metadata.create_all(engine)
    with engine.connect() as connection:
        connection.execute(text("DROP TRIGGER audit_leaf_no_delete"))
        connection.execute(text("PRAGMA journal_mode"))
        with pytest.raises(UnprotectedTrailError, match="audit_leaf_no_delete") as caught:
            require_guards(connection, TABLES)
        passed = require_guards(connection, TABLES, tolerated={"trigger"})
    assert "docs/errors/unprotected-trail.md" in str(caught.value)
    assert {"trigger", "setting"} == {finding.kind for finding in passed}
    engine.dispose()


OTHER_TERMS = """
CREATE OR REPLACE FUNCTION auditspan_terms(body text) RETURNS integer[]
LANGUAGE sql IMMUTABLE AS 'SELECT ARRAY[1]'
"""
DAMAGED = ("", "{", "[]", '{"changes":[]}', '{"changes":{"a":1}}', "0x00")


@pytest.mark.parametrize("statement", ["DROP INDEX ix_audit_event_terms", OTHER_TERMS])
def test_search_terms_are_checked_and_created_again(postgres_url: str, statement: str) -> None:
    """Without their index or their function, searches would miss events; that is a warning."""
    engine = create_engine(postgres_url)
    TABLES.event.metadata.create_all(engine)
    assert [] == [one for one in findings(engine, "setting") if "terms" in one]
    (said,) = [one for one in findings(engine, "setting", statement) if "terms" in one]
    assert said.startswith("The index ix_audit_event_terms on audit_event, or its function")
    with engine.begin() as connection:
        restore_guards(connection, TABLES)
    assert [] == [one for one in findings(engine, "setting") if "terms" in one]
    engine.dispose()


@pytest.mark.parametrize("body", DAMAGED)
def test_damaged_body_has_few_terms_and_no_error(postgres_url: str, body: str) -> None:
    """It is stored like any other, so that it can be sealed and reported."""
    engine = create_engine(postgres_url)
    TABLES.event.metadata.create_all(engine)
    with engine.begin() as connection:
        terms = connection.execute(text("SELECT auditspan_terms(:body)"), {"body": body}).scalar()
        expected = connection.execute(text("SELECT ARRAY[hashtext('field:a')]")).scalar()
        assert (expected if '"a"' in body else []) == terms
    engine.dispose()
