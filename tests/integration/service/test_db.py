"""Units of work behave alike on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from auditspan import Actor, UnauditedWriteError, audit_context
from auditspan_service.database.engine import Database, make_engine
from auditspan_service.models import User
from support.service import RunningService


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the schema, under no trail."""
    database = Database.connect(database_url)
    yield database
    database.dispose()


def test_reading_cannot_write(database: Database) -> None:
    """A write in a reading unit of work is refused by the database itself."""
    with database.reading() as session, pytest.raises(DBAPIError, match=r"read.?only"):
        session.execute(text("DELETE FROM alembic_version"))
    with database.writing() as session:  # on the same pooled connection
        session.execute(text("DELETE FROM alembic_version"))


def test_reading_cannot_flush_an_audited_model(service: RunningService) -> None:
    """The sessions of readers are under no trail, so an audited model is refused there."""
    with service.services.database.reading() as session:
        session.add(User(username="lee"))
        with pytest.raises((UnauditedWriteError, DBAPIError)):
            session.flush()
    assert service.tables()["users"] == []


def test_writing_is_all_or_nothing(service: RunningService) -> None:
    """What raises inside a unit of work leaves neither the change nor its row."""
    context = audit_context(actor=Actor.system("test"))
    with (
        context,
        pytest.raises(RuntimeError, match="late"),
        service.services.database.writing() as session,
    ):
        session.add(User(username="lee"))
        session.flush()
        raise RuntimeError("late")
    assert (service.tables()["users"], service.bodies()) == ([], [])


def test_change_without_an_actor_is_refused_by_default(service: RunningService) -> None:
    """Strict is the default: outside of requests and contexts a change is refused."""
    with (
        pytest.raises(UnauditedWriteError),
        service.services.database.writing() as session,
    ):
        session.add(User(username="lee"))
    assert service.tables()["users"] == []


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    """Somebody who reads is not held up by a transaction that is writing."""
    with database.writing() as writer:
        writer.execute(text("DELETE FROM alembic_version"))
        with database.reading() as reader:  # who waited for the writer would wait in vain
            assert reader.scalars(select(User)).all() == []


def test_sqlite_writers_take_turns(sqlite_url: str) -> None:
    """A writer that reads first waits for its turn, and does not fail when another was first."""
    database = Database.connect(sqlite_url)
    count = 0

    def write() -> None:
        nonlocal count
        for _ in range(6):  # a disk may take half a second for each, and a turn is waited for 30
            with database.writing() as session:
                session.execute(select(User)).all()
                session.execute(text("UPDATE alembic_version SET version_num = version_num"))
                count += 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.dispose()
    assert count == 24


def test_sqlite_is_durable(sqlite_url: str) -> None:
    """WAL with a sync at every commit, foreign keys checked, patience with other writers."""
    engine = make_engine(sqlite_url)
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
    engine.dispose()
    assert found == ["wal", 2, 1, 30_000]


def test_postgresql_session(postgresql_url: str) -> None:
    """Times are shown in UTC, and waiting for a lock ends."""
    database = Database.connect(postgresql_url)
    with database.reading() as session:
        found = [
            session.scalar(text(f"SHOW {name}"))
            for name in ("timezone", "lock_timeout", "transaction_read_only", "application_name")
        ]
    database.dispose()
    assert found == ["UTC", "10s", "on", "auditspan"]


def test_reading_keeps_prepared_statements(postgresql_url: str) -> None:
    """The end of a reader does not remove the statements that its connection has prepared."""
    database = Database.connect(postgresql_url)
    prepared = text("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 471147'")
    for _ in range(7):  # psycopg prepares a statement that was executed five times
        with database.reading() as session:
            session.execute(text("SELECT 471147"))
    with database.reading() as session:
        found = session.scalar(prepared)
    database.dispose()
    assert 1 == found


def test_parameters_are_hidden(database: Database) -> None:
    """The error of a failed statement shows no values."""
    with database.writing() as session, pytest.raises(DBAPIError) as caught:
        session.execute(text("SELECT :x FROM nowhere"), {"x": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("given", "seconds"), [("", "30"), ("&keepalives_idle=7", "7")])
def test_a_network_that_has_gone_silent_is_noticed(
    postgresql_url: str, given: str, seconds: str
) -> None:
    """Connections ask whether the server is still there; the URL may say how often."""
    joint = given if "?" in postgresql_url else given.replace("&", "?")
    engine = make_engine(postgresql_url + joint)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        options = conninfo_to_dict(driver.info.dsn)
    engine.dispose()
    asked = {name: options.get(name) for name in ("keepalives_idle", "tcp_user_timeout")}
    assert {"keepalives_idle": seconds, "tcp_user_timeout": "30000"} == asked


def test_a_reader_that_loses_the_database_at_its_end_has_what_it_read(
    postgresql_url: str,
) -> None:
    """Its COMMIT has nothing to save: that it cannot be sent changes no answer."""
    database, other = Database.connect(postgresql_url), make_engine(postgresql_url)
    with database.reading() as session:
        process = session.scalar(text("SELECT pg_backend_pid()"))
        with other.connect() as connection:
            ended = text("SELECT pg_terminate_backend(:process, 5000)")
            assert connection.scalar(ended, {"process": process})
    with database.reading() as session:
        assert process != session.scalar(text("SELECT pg_backend_pid()"))
    database.dispose()
    other.dispose()
