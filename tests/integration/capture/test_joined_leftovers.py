"""An object of two tables that another program writes is told in one change."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from auditspan.seal.undrained import Undrained
from integration.capture.application import KEY, Application, make_application


class Base(DeclarativeBase):
    pass


class Worker(Base):
    __tablename__ = "worker"
    __audit__ = True
    __mapper_args__: dict[str, Any] = {  # noqa: RUF012 (as SQLAlchemy has it)
        "polymorphic_on": "kind",
        "polymorphic_identity": "worker",
    }
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


class Engineer(Worker):
    __tablename__ = "engineer"
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(ForeignKey("worker.id"), primary_key=True)
    field: Mapped[str | None]


INSERTS = (
    "INSERT INTO worker VALUES (1, 'engineer'), (2, 'worker')",
    "INSERT INTO engineer VALUES (1, 'x')",
)
DELETES = ("DELETE FROM engineer", "DELETE FROM worker")


@pytest.fixture
def application(engine: Engine) -> Application:
    """Workers and engineers under a trail."""
    return make_application(engine, Base.metadata)


def outside(application: Application, *statements: str) -> None:
    """Another program writes in one transaction, and takes its time."""
    url = application.engine.url
    if url.get_backend_name() == "sqlite":
        with sqlite3.connect(str(url.database)) as file:
            _slowly(file, statements)
        file.close()
        return
    bare = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(bare) as connection:
        _slowly(connection, statements)


def _slowly(connection: Any, statements: tuple[str, ...]) -> None:
    for statement in statements:
        connection.execute(statement)
        time.sleep(0.01)


@pytest.mark.parametrize("at_once", [True, False])
def test_object_in_two_tables_is_recorded_once(application: Application, at_once: bool) -> None:  # noqa: FBT001 (a parameter)
    """However long lies between its rows, and whether or not it is gone by then."""
    worker = Undrained(application.engine, application.trail.tables, mac_key=KEY)
    outside(application, *INSERTS)
    if not at_once:
        worker.take()
    outside(application, *DELETES)
    worker.take()
    told = {(action, id_): {*changes} for action, id_, changes in application.told()}
    assert {
        ("engineer.create", "1"): {"id", "kind", "field"},
        ("worker.create", "2"): {"id", "kind"},
        ("engineer.delete", "1"): {"id", "kind", "field"},
        ("worker.delete", "2"): {"id", "kind"},
    } == told
    assert 4 == len(application.events())
    application.check()


def test_many_objects_of_two_tables_replay(application: Application) -> None:
    """Their rows are more than a worker takes at once."""
    keys = [f"({key}, 'engineer')" for key in range(1, 1501)]
    rows = [f"({key}, NULL)" for key in range(1, 1501)]
    outside(
        application,
        f"INSERT INTO worker VALUES {', '.join(keys)}",  # noqa: S608
        f"INSERT INTO engineer VALUES {', '.join(rows)}",  # noqa: S608
    )
    worker = Undrained(application.engine, application.trail.tables, mac_key=KEY)
    while worker.take():
        pass
    application.check()
