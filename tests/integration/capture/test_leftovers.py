"""What nobody drained is recorded by the worker, exactly once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, create_engine, insert, text

from auditspan import Actor, Policy, audit_context
from auditspan.capture.registry import captures_of
from auditspan.capture.undrained import record_undrained, unknown_tables
from auditspan.capture.writer import Capture
from auditspan.seal.undrained import Undrained
from auditspan.storage.tables import audit_tables
from integration.capture.application import KEY, Application, make_application
from support.patience import PATIENCE, promised


@pytest.fixture
def application(engine: Engine) -> Application:
    """A table of words under a trail."""
    metadata = MetaData()
    Table(
        "word",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("s", Text),
        info={"audit": True},
    )
    return make_application(engine, metadata)


def outside(application: Application, *statements: str) -> None:
    """Another program writes, by the bare driver."""
    url = application.engine.url
    if url.get_backend_name() == "sqlite":
        file = sqlite3.connect(str(url.database), timeout=30)
        with file:
            for statement in statements:
                file.execute(statement)
        file.close()
        return
    bare = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(bare, application_name="psql") as connection:
        for statement in statements:
            connection.execute(statement)


def capture_of(application: Application) -> Capture:
    """The capture of the application's trail."""
    with application.engine.connect() as connection:
        (capture,) = captures_of(connection)
    return capture


def work(application: Application, limit: int = 2000) -> int:
    """The worker comes by once."""
    with application.engine.begin() as connection:
        return record_undrained(connection, capture_of(application), limit)


def test_writes_of_another_program_are_recorded_with_its_role(application: Application) -> None:
    """Insert, update and delete, in their order; PostgreSQL knows who it was."""
    outside(
        application,
        "INSERT INTO word VALUES (1, 'a'), (2, 'b')",
        "UPDATE word SET s = 'c' WHERE id = 2",
        "DELETE FROM word WHERE id = 1",
    )
    assert 4 == work(application)
    assert 0 == work(application)
    told = [(event["action"], event["target"]["id"]) for event in application.events()]
    assert [
        ("word.create", "1"),
        ("word.create", "2"),
        ("word.update", "2"),
        ("word.delete", "1"),
    ] == told
    actors = {(event["actor"]["type"], event["actor"]["id"]) for event in application.events()}
    is_postgresql = application.engine.dialect.name == "postgresql"
    assert {("database", application.engine.url.username if is_postgresql else None)} == actors
    said = application.events()[0]["metadata"].get("application")
    assert said == ("psql" if is_postgresql else None)
    application.check()


def test_autocommitted_writes_are_recorded(application: Application) -> None:
    """Each statement has committed by itself, before anybody could drain."""
    engine = create_engine(application.engine.url, isolation_level="AUTOCOMMIT")
    with audit_context(actor=Actor.user(1)), engine.connect() as connection:
        connection.execute(insert(application.metadata.tables["word"]).values(id=1, s="a"))
        connection.execute(text("UPDATE word SET s = 'b'"))
    engine.dispose()
    work(application)
    assert ["word.create", "word.update"] == [event["action"] for event in application.events()]
    application.check()


def test_drained_and_undrained_changes_of_one_row_meet(application: Application) -> None:
    """The application drains its own rows only; each is told once."""
    with application.unit_of_work() as session:
        session.execute(text("INSERT INTO word VALUES (1, 'a')"))
    outside(application, "UPDATE word SET s = 'b'")
    with application.unit_of_work() as session:
        session.execute(text("UPDATE word SET s = 'c'"))
    assert 1 == work(application)
    told = sorted((e["actor"]["type"], e["changes"]["s"]["new"]) for e in application.events())
    assert [("database", "b"), ("user", "a"), ("user", "c")] == told


def test_a_worker_that_is_rolled_back_loses_and_repeats_nothing(application: Application) -> None:
    """It takes and records in one transaction."""
    outside(application, "INSERT INTO word VALUES (1, 'a')")
    with application.engine.connect() as connection:
        assert 1 == record_undrained(connection, capture_of(application))
        connection.rollback()
    assert [] == application.events()
    work(application)
    assert ["word.create"] == [event["action"] for event in application.events()]
    application.check()


def test_several_workers_tell_each_change_once(application: Application) -> None:
    """Beside a program that goes on writing."""
    keys = range(1, 21)

    def write() -> None:
        for key in keys:
            outside(application, f"INSERT INTO word VALUES ({key}, 'a')")  # noqa: S608

    writer = Thread(target=write)
    workers = [Thread(target=lambda: [work(application, 3) for _ in range(10)]) for _ in range(2)]
    for thread in (writer, *workers):
        thread.start()
    for thread in (writer, *workers):
        thread.join()
    while work(application):
        pass
    ids = sorted(int(event["target"]["id"]) for event in application.events())
    assert list(keys) == ids
    application.check()


def by_truncate() -> list[str]:
    return ["INSERT INTO word VALUES (1, 'a'), (2, 'b')", "TRUNCATE word"]


def by_merge() -> list[str]:
    return [
        "INSERT INTO word VALUES (1, 'a')",
        (
            "MERGE INTO word USING (VALUES (1, 'x'), (2, 'y')) AS source (id, s)"
            " ON word.id = source.id WHEN MATCHED THEN UPDATE SET s = source.s"
            " WHEN NOT MATCHED THEN INSERT VALUES (source.id, source.s)"
        ),
    ]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("statements", "actions"),
    [
        (by_truncate, ["create", "create", "delete", "delete"]),
        (by_merge, ["create", "create", "update"]),
    ],
)
def test_every_kind_of_statement_is_recorded(
    application: Application, statements: Callable[[], Any], actions: list[str]
) -> None:
    """TRUNCATE keeps the rows that it removes; MERGE is what it does to each row."""
    outside(application, *statements())
    work(application)
    assert actions == sorted(e["action"].partition(".")[2] for e in application.events())
    application.check()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_copied_rows_are_recorded(application: Application) -> None:
    """COPY FROM, in more rows than are taken at once."""
    bare = application.engine.url.set(drivername="postgresql")
    with (
        psycopg.connect(bare.render_as_string(hide_password=False)) as connection,
        connection.cursor().copy("COPY word FROM STDIN") as copy,
    ):
        for n in range(1, 3001):
            copy.write_row((n, "a"))
    assert [2000, 1000, 0] == [work(application) for _ in range(3)]
    assert 3000 == len(application.events())
    application.check()


def test_rows_of_a_table_without_a_policy_are_kept_and_counted(application: Application) -> None:
    """A worker that knows another version of the models loses nothing."""
    outside(application, "INSERT INTO word VALUES (1, 'a')")
    other = MetaData()
    for table in application.metadata.tables.values():
        if table.name.startswith("audit_"):
            table.to_metadata(other)
    with application.engine.connect() as connection:
        assert {"word": 1} == unknown_tables(connection, other)
        assert {} == unknown_tables(connection, application.metadata)
    assert 0 == Undrained(application.engine, audit_tables(other), mac_key=KEY).record()
    assert 1 == work(application)
    application.check()


def test_change_to_an_ignored_column_alone_is_removed_unrecorded(engine: Engine) -> None:
    """Whether the application or the worker removes the staged row."""
    metadata = MetaData()
    columns = (Column("id", Integer, primary_key=True), Column("seen", Integer))
    Table("visit", metadata, *columns, info={"audit": Policy(ignore={"seen"})})
    application = make_application(engine, metadata)
    for statement in ("INSERT INTO visit VALUES (1, 1)", "UPDATE visit SET seen = 2"):
        with application.unit_of_work() as session:
            session.execute(text(statement))
    work(application)
    assert ["visit.create"] == [event["action"] for event in application.events()]
    application.check()


def test_the_worker_records_what_is_committed_within_two_seconds(
    application: Application,
) -> None:
    """It looks once a second, and goes on when it was stopped in between."""
    stop = Event()
    undrained = Undrained(application.engine, application.trail.tables, mac_key=KEY)
    thread = Thread(target=undrained.run, args=(stop,))
    thread.start()
    try:
        outside(application, "INSERT INTO word VALUES (1, 'a')")
        committed = time.monotonic()
        while not application.events() and time.monotonic() - committed < PATIENCE:
            time.sleep(0.02)
        assert time.monotonic() - committed < promised(2)
    finally:
        stop.set()
        thread.join()
    application.check()


WORKER = """
import sys
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine
from auditspan import MacKey
from auditspan.storage import audit_tables
from auditspan.storage import audit_tables
from auditspan.seal import Undrained

metadata = MetaData()
tables = audit_tables(metadata)
columns = (Column("id", Integer, primary_key=True), Column("s", Text))
Table("word", metadata, *columns, info={"audit": True})
engine = create_engine(sys.argv[1])
undrained = Undrained(engine, tables, mac_key=MacKey.from_secret(bytes(range(32))))
print("ready", flush=True)
while True:
    undrained.record()
"""


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_again_and_again_tells_each_change_once(
    application: Application, tmp_path: Path, kills: int
) -> None:
    """By SIGKILL, while another program writes."""
    keys = range(1, 1000 * kills + 1)
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    url = application.engine.url.render_as_string(hide_password=False)
    done = Event()

    def write() -> None:
        for first in keys[::100]:
            rows = ", ".join(f"({key}, 'a')" for key in range(first, first + 100))
            outside(application, f"INSERT INTO word VALUES {rows}")  # noqa: S608
        done.set()

    writer = Thread(target=write)
    writer.start()
    for _ in range(kills):
        with subprocess.Popen([sys.executable, program, url], stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            worker.stdout.readline()
            time.sleep(0.3)
            worker.send_signal(signal.SIGKILL)
    writer.join()
    assert done.is_set()
    while work(application):
        pass
    ids = sorted(int(event["target"]["id"]) for event in application.events())
    assert list(keys) == ids
    application.check()
