"""Partitions under deployed rights, by the command, in migrations, and through dump and restore."""

from __future__ import annotations

import json
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Engine, MetaData, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

import auditspan.alembic.autogenerate as proposals
from auditspan.alembic.operations import create_guards, drop_guards, partition_audit_event
from auditspan.delivery.sinks import FileSink
from auditspan.delivery.worker import Worker
from auditspan.errors import AuditConfigError
from auditspan.seal.guards import Finding, check_guards
from auditspan.storage.new_events import insert_records
from auditspan.storage.partitions.postgresql import create_ahead, partitions_of
from auditspan.storage.tables import audit_tables
from auditspan_service.database.engine import make_engine
from auditspan_service.models import Base
from integration.scaling.conftest import partition
from integration.trust.backups import run
from integration.trust.world import KEY, MAC, Trail, opened, record
from support.patience import PATIENCE
from support.postgres import empty_database
from support.roles import Deployed, _grants
from support.running import auditspan

TABLES = audit_tables(MetaData())
NEWEST = "SELECT max(relname) FROM pg_class WHERE relname ~ '^audit_event_[0-9]+_[0-9]+$'"


class Engines:
    """Engines of the roles, closed at the end."""

    def __init__(self, place: Deployed) -> None:
        self._place = place
        self._made: dict[str, Engine] = {}

    def __getitem__(self, role: str) -> Engine:
        if role not in self._made:
            self._made[role] = make_engine(self._place.url(role))
        return self._made[role]

    def close(self) -> None:
        """Close them."""
        for engine in self._made.values():
            engine.dispose()


@pytest.fixture
def engines(deployed: Deployed) -> Any:
    """Each role's engine, on a partitioned trail."""
    made = Engines(deployed)
    partition(made["migrator"])
    yield made
    made.close()


def findings(engine: Engine) -> list[Finding]:
    """What the guards say to this role."""
    with engine.connect() as connection:
        return check_guards(connection, TABLES)


def drop_newest(engine: Engine) -> str:
    """Take away the partition of the last month; its name."""
    with engine.begin() as connection:
        name = str(connection.scalar(text(NEWEST)))
        connection.execute(text(f"DROP TABLE {name}"))
    return name


def parts(engine: Engine) -> list[str]:
    """The partitions."""
    with engine.connect() as connection:
        return [one.bare for one in partitions_of(connection, TABLES.event)]


@pytest.mark.parametrize("role", ["app", "worker", "auditor"])
def test_roles_go_on_as_before(engines: Engines, role: str) -> None:
    """Rights on the table are those that were; nobody but the owner has any on a partition."""
    assert [] == findings(engines[role])
    with engines["app"].begin() as connection:
        insert_records(connection, TABLES, [record(1)], MAC)
    with engines[role].connect() as connection:
        assert 1 == connection.scalar(text("SELECT count(*) FROM audit_event"))
        for name in parts(engines[role]):
            with pytest.raises(ProgrammingError, match="permission denied for table"):
                connection.execute(text(f"SELECT FROM {name}"))
            connection.rollback()


def test_only_the_worker_creates_partitions(engines: Engines) -> None:
    """The worker makes what is missing, as closed as the others, and owns nothing of it."""
    name = drop_newest(engines["migrator"])
    for role in ("app", "auditor"):
        with (
            engines[role].begin() as connection,
            pytest.raises(ProgrammingError, match="permission denied for function"),
        ):
            create_ahead(connection, TABLES.event)
    with engines["worker"].begin() as connection:
        assert [name] == create_ahead(connection, TABLES.event)
    with (
        engines["worker"].begin() as connection,
        pytest.raises(ProgrammingError, match="permission denied for function"),
    ):
        connection.execute(text("SELECT auditspan_make_partition(now())"))
    with engines["migrator"].begin() as connection:
        owned = text("SELECT tableowner = current_user FROM pg_tables WHERE tablename = :name")
        assert connection.scalar(owned, {"name": name})
    assert [] == findings(engines["worker"])


def test_rights_that_a_new_table_would_get_are_taken_back(
    engines: Engines, deployed: Deployed
) -> None:
    """ALTER DEFAULT PRIVILEGES may be generous: partitions are not."""
    deployed.run("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO {app}")
    drop_newest(engines["migrator"])
    with engines["worker"].begin() as connection:
        assert 1 == len(create_ahead(connection, TABLES.event))
    assert [] == findings(engines["app"])


def test_a_right_on_a_partition_is_named(engines: Engines, deployed: Deployed) -> None:
    """It is a right to change the trail, as one on the table is."""
    name = parts(engines["migrator"])[0]
    deployed.run(f"GRANT DELETE ON {name} TO {{app}}")
    (found,) = findings(engines["app"])
    assert ("role", True) == (found.kind, f"may DELETE on {name}" in found.detail)


def test_the_worker_does_it_by_itself(engines: Engines, tmp_path: Path) -> None:
    """A running worker has made the partitions that are missing, under the worker's rights."""
    name = drop_newest(engines["migrator"])
    worker = Worker(engines["worker"], TABLES, FileSink(tmp_path), signing_key=KEY, mac_key=MAC)
    worker.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while name not in parts(engines["worker"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with engines["app"].begin() as connection:
            insert_records(connection, TABLES, [record(n) for n in range(3)], MAC)
        assert worker.drain(PATIENCE)
    finally:
        worker.stop()


def test_grants_may_be_given_again(engines: Engines, deployed: Deployed) -> None:
    """deploy/postgres/grants.sql after partitioning leaves everything as it must be."""
    deployed.run(_grants(deployed))
    assert [] == findings(engines["app"]) + findings(engines["worker"])
    drop_newest(engines["migrator"])
    with engines["worker"].begin() as connection:
        assert 1 == len(create_ahead(connection, TABLES.event))


def test_autogenerate_proposes_nothing(engines: Engines) -> None:
    """Neither to drop partitions nor to make indexes as they were, with the module imported."""
    assert "auditspan.alembic.autogenerate" == proposals.__name__
    with engines["migrator"].connect() as connection:
        assert [] == compare_metadata(MigrationContext.configure(connection), Base.metadata)


def test_autogenerate_still_sees_what_is_missing(engines: Engines) -> None:
    """What has nothing to do with partitions is proposed as ever."""
    with engines["migrator"].begin() as connection:
        connection.execute(text("DROP INDEX ix_audit_event_trace"))
    with engines["migrator"].connect() as connection:
        (found,) = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert ("add_index", "ix_audit_event_trace") == (found[0], found[1].name)


def test_the_command(deployed: Deployed) -> None:
    """`auditspan db partition` says what there is, and the second time makes nothing."""
    url = deployed.url("migrator")
    for made in (5, 0):
        done = auditspan("db", "partition", "--json", AUDITSPAN_DATABASE_URL=url)
        assert 0 == done.returncode, done.stderr
        said = json.loads(done.stdout)
        assert (made, 5) == (len(said["made"]), len(said["partitions"]))
    check = auditspan("db", "check", AUDITSPAN_DATABASE_URL=url)
    assert 0 == check.returncode, check.stdout


def test_the_command_on_sqlite(tmp_path: Path) -> None:
    """There are no partitions there, and nothing is changed."""
    url = f"sqlite:///{tmp_path / 'trail.db'}"
    assert 0 == auditspan("db", "upgrade", AUDITSPAN_DATABASE_URL=url).returncode
    done = auditspan("db", "partition", AUDITSPAN_DATABASE_URL=url)
    assert 2 == done.returncode
    assert "require PostgreSQL" in done.stderr


def operations(connection: Connection) -> Operations:
    """What a migration gets as `op`."""
    return Operations(MigrationContext.configure(connection))


def test_partitioning_migration_is_refused_on_sqlite(tmp_path: Path) -> None:
    """A step for PostgreSQL does not pass silently elsewhere."""
    engine = create_engine(f"sqlite:///{tmp_path / 'trail.db'}")
    with engine.connect() as connection, pytest.raises(AuditConfigError, match="skip this step"):
        partition_audit_event(operations(connection))
    engine.dispose()


def test_guards_come_and_go_with_partitions(trail: Trail) -> None:
    """`drop_guards` leaves no trigger on any partition, `create_guards` none without."""
    with trail.engine.begin() as connection:
        drop_guards(operations(connection))
        left = text(
            "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal "
            "AND tgname <> 'audit_event_recorded' "
            "AND tgrelid IN (SELECT relid FROM pg_partition_tree('audit_event'))"
        )
        assert 0 == connection.scalar(left)
        create_guards(operations(connection))
        found = check_guards(connection, trail.tables)
    assert {"role"} == {one.kind for one in found}


@pytest.mark.parametrize("schema", [None, "ledger", 'Mrs "O\'Hara"'])
def test_a_script_in_any_schema(postgres_url: str, schema: str | None) -> None:
    """With `--sql` it is printed, and what is printed does it, whatever the schema's name."""
    engine = make_engine(postgres_url)
    metadata = MetaData(schema=schema)
    tables = audit_tables(metadata)
    script = StringIO()
    options = {"as_sql": True, "output_buffer": script}
    op = Operations(MigrationContext.configure(dialect_name="postgresql", opts=options))
    partition_audit_event(op, schema=schema)
    quoted = engine.dialect.identifier_preparer.quote(schema or "public")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {quoted}")
        metadata.create_all(connection)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(script.getvalue())
        driver.commit()
    with engine.begin() as connection:
        insert_records(connection, tables, [record(n) for n in range(3)], MAC)
        connection.exec_driver_sql(f"DROP TABLE {quoted}.{parts_in(connection, tables.event)[0]}")
        assert 1 == len(create_ahead(connection, tables.event))
        assert 5 == len(parts_in(connection, tables.event))
        found = check_guards(connection, tables)
    assert {"role"} == {one.kind for one in found}, found
    engine.dispose()


def parts_in(connection: Connection, event: Any) -> list[str]:
    """The partitions of a table of some schema."""
    return [one.bare for one in partitions_of(connection, event)]


def test_dump_and_restore(trail: Trail, tmp_path: Path) -> None:
    """A dump brings partitions, guards and functions along, and the trail goes on from there."""
    script = tmp_path / "dump.sql"
    postgresql(trail.engine, "pg_dump", "--no-owner", "--file", str(script))
    # An older server, which may be given to the tests, does not know this setting.
    lines = script.read_text().splitlines(keepends=True)
    script.write_text("".join(line for line in lines if "SET transaction_timeout" not in line))
    with empty_database() as url:
        target = make_engine(url)
        postgresql(target, "psql", "--quiet", "-v", "ON_ERROR_STOP=1", "-f", str(script))
        target.dispose()
        with opened(url, trail.folder) as restored:
            restored.written = trail.written
            with restored.engine.connect() as connection:
                found = check_guards(connection, restored.tables)
            assert {"role"} == {one.kind for one in found}, found
            assert restored.report(witnessed=True).ok
            drop_newest(restored.engine)
            with restored.engine.begin() as connection:
                assert 1 == len(create_ahead(connection, restored.tables.event))
            restored.grow(4)
            report = restored.report(witnessed=True)
            assert (True, 24) == (report.ok, report.rows)


def postgresql(engine: Engine, program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on a database."""
    url = make_url(engine.url).set(drivername="postgresql").render_as_string(hide_password=False)
    run(program, *arguments, "--dbname", url)
