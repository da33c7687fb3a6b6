"""`reset`: empty tables for the next test, and triggers as before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, delete, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

from auditspan import AuditTrail, audit_context
from auditspan.errors import AuditConfigError
from auditspan.seal.guards.check import check_guards
from auditspan.testing import captured, reset
from integration.scaling.conftest import partition
from integration.testing.notes import KIM, Base, Note, left, write

OUTSIDE = """
import sys
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import sessionmaker
from auditspan import AuditTrail
from auditspan.testing.reset import reset
for runner in ("pytest", "unittest"):
    sys.modules.pop(runner, None)
engine = create_engine("sqlite://")
reset(engine, AuditTrail(sessionmaker(engine), metadata=MetaData()))
"""


def named(engine: Engine) -> str:
    """The name of the database."""
    return str(engine.url.database)


def test_delete_of_an_audit_table_is_refused(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Cleaning up with DELETE for every table does not work: the reason for `reset`."""
    write(sessions, "a")
    with pytest.raises(IntegrityError, match="append-only"), engine.begin() as connection:
        connection.execute(delete(trail.tables.event))


def test_reset_empties_every_table(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Notes and events are gone, nothing is recorded, and the next ids are 1 again."""
    for _ in range(2):
        with captured(trail, engine) as events:
            write(sessions, "a", "b")
        assert [1, 2] == [event.new["id"] for event in events]
        reset(engine, trail, database=named(engine))
        assert (0, 0) == left(engine, trail)


def test_reset_leaves_the_guards_as_they_were(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """After `reset` the audit tables are append-only, in the way they were before."""
    with engine.connect() as connection:
        before = check_guards(connection, trail.tables)
    write(sessions, "a")
    reset(engine, trail, database=named(engine))
    with engine.connect() as connection:
        assert before == check_guards(connection, trail.tables)
    write(sessions, "a")
    with pytest.raises(IntegrityError, match="append-only"), engine.begin() as connection:
        connection.execute(delete(trail.tables.event))


def test_reset_leaves_tables_out_that_do_not_exist(
    trail: AuditTrail, sessions: sessionmaker[Session], engine: Engine
) -> None:
    """A table of the metadata that was not created does not stop the others."""
    write(sessions, "a")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE audit_delivery"))
    reset(engine, trail, database=named(engine))
    assert (0, 0) == left(engine, trail)


def test_reset_refuses_a_database_that_may_not_be_for_tests(
    trail: AuditTrail, sessions: sessionmaker[Session]
) -> None:
    """A name without `test`, elsewhere than in the temporary directory, has to be given."""
    write(sessions, "a")
    other = create_engine("sqlite:////srv/shop.db")
    with pytest.raises(AuditConfigError, match=r"pass database='/srv/shop\.db'"):
        reset(other, trail)
    with pytest.raises(AuditConfigError, match=r"pass database='shop'"):
        reset(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/shop"), trail, database="shot")


def test_reset_refuses_to_run_outside_of_tests() -> None:
    """Without pytest and unittest in the process nothing is emptied."""
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE], capture_output=True, text=True, check=False
    )
    assert "no test runner is loaded" in done.stderr


def test_reset_empties_a_partitioned_trail(postgres_url: str) -> None:
    """The partitions are emptied and as closed as before."""
    engine = create_engine(postgres_url)
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata)
    Base.metadata.create_all(engine)
    partition(engine)
    with engine.connect() as connection:
        before = check_guards(connection, trail.tables)
    with audit_context(actor=KIM):
        write(sessions, "a")
    reset(engine, trail, database=named(engine))
    assert (0, 0) == left(engine, trail)
    with engine.connect() as connection:
        assert before == check_guards(connection, trail.tables)
    engine.dispose()


@pytest.mark.parametrize("place", ["memory", "file"])
def test_reset_takes_a_temporary_database_without_its_name(place: str, tmp_path: Path) -> None:
    """SQLite in memory, or below the directory for temporary files, is for tests."""
    url = "sqlite://" if place == "memory" else f"sqlite:///{tmp_path / 'shop.db'}"
    engine = create_engine(url, poolclass=StaticPool)
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata)
    Base.metadata.create_all(engine)
    with audit_context(actor=KIM):
        write(sessions, "a")
    reset(engine, trail)
    assert (0, 0) == left(engine, trail)
    engine.dispose()


def test_reset_refuses_a_connection_with_an_open_transaction() -> None:
    """The only connection of an engine is not emptied under an open transaction."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata)
    Base.metadata.create_all(engine)
    with audit_context(actor=KIM), sessions() as session:
        session.add(Note(words="a"))
        session.flush()
        with pytest.raises(AuditConfigError, match="a transaction is open"):
            reset(engine, trail)
    engine.dispose()
