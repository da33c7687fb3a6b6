"""Drivers of PostgreSQL other than psycopg; some report less about a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from auditspan import Actor, MissingActorError, audit_context
from integration.capture.application import KIM, Application, make_application
from integration.capture.test_leftovers import work as drained_by_worker

Work = Callable[[Connection], object]


@dataclass(frozen=True)
class Driver:
    """An engine with another driver, on the database of an application."""

    engine: Engine | AsyncEngine
    application: Application

    def run(self, work: Work, **options: Any) -> None:
        """Do some work in one transaction, and commit it."""
        if isinstance(self.engine, AsyncEngine):
            asyncio.run(_run(self.engine, work, options))
            return
        try:
            with self.engine.connect().execution_options(**options) as connection:
                work(connection)
                connection.commit()
        finally:
            self.engine.dispose()

    def numbers(self) -> list[tuple[Any, str]]:
        """The number in each event, and the type of its actor."""
        events = self.application.events()
        return [(e["changes"]["n"]["new"], e["actor"]["type"]) for e in events]


async def _run(engine: AsyncEngine, work: Work, options: dict[str, Any]) -> None:
    try:
        async with engine.connect() as connection:
            await connection.execution_options(**options)
            await connection.run_sync(work)
            await connection.commit()
    finally:
        await engine.dispose()  # its connections belong to this event loop


@pytest.fixture(params=["psycopg2", "pg8000", "asyncpg"])
def driver(request: pytest.FixtureRequest, postgresql_engine: Engine) -> Driver:
    """A table of words under a trail; psycopg creates it and reads what was recorded."""
    url = postgresql_engine.url.set(drivername=f"postgresql+{request.param}")
    if request.param == "pg8000":
        url = url.set(query={"unix_sock": f"{url.query['host']}/.s.PGSQL.5432"})
    made = create_async_engine(url) if request.param == "asyncpg" else create_engine(url)
    metadata = MetaData()
    columns = Column("id", Integer, primary_key=True), Column("n", Integer)
    Table("word", metadata, *columns, info={"audit": True})
    application = make_application(postgresql_engine, metadata)
    application.trail.register_engine(made.sync_engine if isinstance(made, AsyncEngine) else made)
    return Driver(made, application)


def add(*numbers: int) -> Work:
    """Work that inserts words with these numbers."""
    statement = text("INSERT INTO word (n) SELECT unnest(CAST(:numbers AS integer[]))")
    return lambda connection: connection.execute(statement, {"numbers": [*numbers]})


def test_writes_are_recorded_with_the_actor_of_each(driver: Driver) -> None:
    """More rows than the drain returns at once, and a savepoint that is rolled back, included."""

    def work(connection: Connection) -> None:
        add(1)(connection)
        with connection.begin_nested() as savepoint:
            add(2)(connection)
            savepoint.rollback()
        with audit_context(actor=Actor.system("nightly")):
            add(3)(connection)

    with audit_context(actor=KIM):
        driver.run(work)
        driver.run(add(*range(10, 1_510)))
    assert [(1, "user"), (3, "system")] == driver.numbers()[:2]
    assert 1_502 == len(driver.numbers())
    driver.application.check()


def test_swallowed_error_commits_and_records_nothing(driver: Driver) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK, which pg8000 raises as an error."""

    def work(connection: Connection) -> None:
        add(1)(connection)
        with suppress(DBAPIError):
            connection.execute(text("SELECT 1 / 0"))

    with audit_context(actor=KIM):
        with suppress(DBAPIError):
            driver.run(work)
        driver.run(add(2))
    assert [(2, "user")] == driver.numbers()
    driver.application.check()


def test_autocommit_is_recorded_by_the_worker(driver: Driver) -> None:
    """The driver reports that no transaction is open."""
    with audit_context(actor=KIM):
        driver.run(add(1), isolation_level="AUTOCOMMIT")
    assert 1 == drained_by_worker(driver.application)
    assert [(1, "database")] == driver.numbers()
    driver.application.check()


def test_write_without_an_actor_is_refused(driver: Driver) -> None:
    """With the sentence that says what to do."""
    with pytest.raises(MissingActorError):
        driver.run(add(1))
    assert [] == driver.numbers()
    driver.application.check()
