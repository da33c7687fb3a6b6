"""The type of an object of three tables is right wherever its staged rows are cut apart."""

from __future__ import annotations

import time
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from auditspan.capture import assembler, classes, postgresql, sqlite
from auditspan.capture.undrained import record_undrained
from integration.capture.application import Application, make_application
from integration.capture.test_leftovers import capture_of, outside, work


class Base(DeclarativeBase):
    """Models of these tests."""


class Worker(Base):
    """The base class."""

    __tablename__ = "worker"
    __audit__ = True
    __mapper_args__: dict[str, Any] = {  # noqa: RUF012 (as SQLAlchemy has it)
        "polymorphic_on": "kind",
        "polymorphic_identity": "worker",
    }
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


class Engineer(Worker):
    """A class between the base and the class of the objects."""

    __tablename__ = "engineer"
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(
        ForeignKey("worker.id", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
    )
    field: Mapped[str | None]


class Lead(Engineer):
    """The class of the objects."""

    __tablename__ = "lead"
    __mapper_args__ = {"polymorphic_identity": "lead"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(
        ForeignKey("engineer.id", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
    )
    rank: Mapped[str | None]


OBJECTS = 5
INSERTS = (
    "INSERT INTO worker VALUES (1, 'lead'), (2, 'lead'), (3, 'lead'), (4, 'lead'), (5, 'lead')",
    "INSERT INTO engineer VALUES (1, 'f'), (2, 'f'), (3, 'f'), (4, 'f'), (5, 'f')",
    "INSERT INTO lead VALUES (1, 'r'), (2, 'r'), (3, 'r'), (4, 'r'), (5, 'r')",
)
UPDATES = ("UPDATE engineer SET field = 'g'", "UPDATE lead SET rank = 's'")
DELETES = ("DELETE FROM lead", "DELETE FROM engineer", "DELETE FROM worker")
BASE_FIRST = DELETES[::-1]
"""On PostgreSQL the first statement takes the other rows with it."""


@pytest.fixture
def application(engine: Engine) -> Application:
    """Workers, engineers and leads under a trail."""
    return make_application(engine, Base.metadata)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the rows of one transaction as if there were thousands."""
    monkeypatch.setattr(sqlite, "BATCH", 2)
    monkeypatch.setattr(postgresql, "BATCH", 2)
    monkeypatch.setattr(postgresql, "_AT_ONCE", 2)
    sqlite._sql.cache_clear()  # noqa: SLF001 (it contains the size of a batch)
    monkeypatch.setattr(assembler, "_KEPT_OBJECTS", 1)
    monkeypatch.setattr(classes, "_IN_MEMORY", 2)


def inside(application: Application, *statements: str) -> None:
    """The application writes in one transaction, which is drained."""
    with application.unit_of_work() as session:
        for statement in statements:
            session.connection().exec_driver_sql(statement)


def assert_leads(application: Application) -> None:
    """Every event is about a lead, and replaying them gives the tables."""
    assert {"lead"} == {event["target"]["type"] for event in application.events()}
    application.check()


def work_through(application: Application, limit: int) -> None:
    """The worker comes by until nothing waits."""
    while work(application, limit):
        pass


@pytest.mark.parametrize("deletes", [DELETES, BASE_FIRST])
@pytest.mark.parametrize("limit", [1, 4, 2000])
def test_leads_that_the_worker_cuts_apart_are_leads(
    application: Application, deletes: tuple[str, ...], limit: int
) -> None:
    """Whether they are gone when the worker comes, or not."""
    outside(application, *INSERTS)
    work_through(application, limit)
    outside(application, *UPDATES)
    work_through(application, limit)
    outside(application, *UPDATES[1:], *deletes)
    work_through(application, limit)
    assert_leads(application)


@pytest.mark.parametrize("limit", [1, 4, 2000])
def test_leads_of_several_transactions_are_leads(application: Application, limit: int) -> None:
    """They are gone before the worker comes for the first time."""
    for statements in (INSERTS, UPDATES, DELETES):
        outside(application, *statements)
    work_through(application, limit)
    assert_leads(application)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("deletes", [DELETES, BASE_FIRST])
def test_leads_that_the_drain_cuts_apart_are_leads(
    application: Application, deletes: tuple[str, ...]
) -> None:
    """In transactions of many batches."""
    inside(application, *INSERTS)
    inside(application, *UPDATES)
    inside(application, "UPDATE engineer SET field = 'h'", *deletes)
    inside(application, *INSERTS, *UPDATES, *deletes)
    assert_leads(application)


def test_update_of_a_lead_that_the_transaction_deletes_is_of_a_lead(
    application: Application,
) -> None:
    """All rows are in one batch, and only some of them in the record of the update."""
    inside(application, *INSERTS)
    inside(application, UPDATES[0], *DELETES)
    assert_leads(application)


@pytest.mark.parametrize("limit", [1, 4])
def test_leads_without_events_are_leads(application: Application, limit: int) -> None:
    """They are older than the trail, so that only staged rows tell their class."""
    outside(application, *INSERTS, "DELETE FROM audit_change")
    outside(application, *DELETES)
    work_through(application, limit)
    assert {"lead"} == {event["target"]["type"] for event in application.events()}


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("has_events", [True, False])
def test_leads_that_two_workers_share_are_leads(
    application: Application,
    has_events: bool,  # noqa: FBT001 (a parameter)
) -> None:
    """One waits for the other, which has taken some rows of the same objects."""
    outside(application, *INSERTS, *([] if has_events else ["DELETE FROM audit_change"]))
    work_through(application, 2000)
    outside(application, *BASE_FIRST)
    other = Thread(target=work, args=(application,))
    with application.engine.begin() as connection:
        assert OBJECTS == record_undrained(connection, capture_of(application), OBJECTS)
        other.start()
        time.sleep(0.2)
    other.join()
    work_through(application, 2000)
    assert {"lead"} == {event["target"]["type"] for event in application.events()}
    assert OBJECTS == [action for action, _, _ in application.told()].count("lead.delete")
    if has_events:
        application.check()


@pytest.mark.parametrize("limit", [1, 4, 2000])
def test_leads_whose_key_changes_are_leads(application: Application, limit: int) -> None:
    """PostgreSQL changes the keys of the other rows; on SQLite the program does."""
    is_postgresql = application.engine.dialect.name == "postgresql"
    tables = ["worker"] if is_postgresql else ["worker", "engineer", "lead"]
    outside(application, *INSERTS)
    outside(application, *(f"UPDATE {table} SET id = id + 100" for table in tables), *UPDATES)  # noqa: S608
    outside(application, *DELETES)
    work_through(application, limit)
    assert_leads(application)


@pytest.mark.parametrize("limit", [1, 4, 2000])
def test_leads_whose_keys_are_used_again_are_leads(application: Application, limit: int) -> None:
    """Each life of a key ends before the next begins, whichever row is deleted first."""
    for deletes in (DELETES, BASE_FIRST, DELETES):
        outside(application, *INSERTS, *UPDATES, *deletes)
    work_through(application, limit)
    assert_leads(application)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("limit", [1, 4])
def test_truncated_leads_are_leads(application: Application, limit: int) -> None:
    """Whichever table the statement names first."""
    for tables in ("worker, engineer, lead", "lead, engineer, worker"):
        outside(application, *INSERTS)
        outside(application, f"TRUNCATE {tables}")
    work_through(application, limit)
    assert_leads(application)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_row_without_a_base_row_is_recorded(application: Application) -> None:
    """Nothing will ever tell its class, and the worker does not wait for that."""
    outside(application, "INSERT INTO engineer VALUES (1, 'f')")
    work_through(application, 2000)
    assert ["engineer.update"] == [event["action"] for event in application.events()]
