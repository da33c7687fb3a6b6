"""The database turns read-only, as after a failover, and can be written to again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from auditspan.delivery.relay import Relay
from auditspan.seal.sealer import Sealer
from auditspan_service.database.engine import Database, make_engine
from support.service import RunningService, problem


class Kept:
    """A sink that counts its batches."""

    name = "otlp"
    batches = 0

    def send(self, _records: object) -> None:
        """Take the batch."""
        self.batches += 1

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """New sessions of this database cannot write, as on a demoted primary."""
    name = make_url(url).database
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    try:
        yield
    finally:
        with engine.connect() as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))
        engine.dispose()


def new_sessions(service: RunningService) -> None:
    """Close the pooled connections, as the server's restart does."""
    service.services.database.engine.dispose()


def test_write_to_read_only_database_is_refused_until_later(
    postgresql_service: RunningService, postgresql_url: str
) -> None:
    """A write is answered 503 with Retry-After, and a read is served."""
    kim = postgresql_service.caller()
    with read_only(postgresql_url):
        new_sessions(postgresql_service)
        refused = kim("POST", "/v1/users", json={"username": "lee"})
        served = kim("GET", "/v1/users")
    assert (503, "2", 200) == (
        problem(refused)["status"],
        refused.headers["Retry-After"],
        served.status_code,
    )


def test_read_only_database_makes_the_service_unready(
    postgresql_service: RunningService, postgresql_url: str
) -> None:
    """The probe is answered 503 while no write can be made, and 200 afterwards."""
    client = postgresql_service.app.test_client()
    with read_only(postgresql_url):
        new_sessions(postgresql_service)
        unready = client.get("/readyz")
    ready = client.get("/readyz")
    assert (503, True, 200) == (
        problem(unready)["status"],
        "read-only" in problem(unready)["detail"],
        ready.status_code,
    )


def test_connections_to_a_demoted_primary_are_dropped(
    postgresql_service: RunningService, postgresql_url: str
) -> None:
    """A refused write closes the pooled sessions, which would stay read-only."""
    kim = postgresql_service.caller()
    with read_only(postgresql_url):
        new_sessions(postgresql_service)
        kim("GET", "/v1/users")
        refused = kim("POST", "/v1/users", json={"username": "lee"})
    made = kim("POST", "/v1/users", json={"username": "lee"})
    assert (503, 201) == (refused.status_code, made.status_code)


def test_reader_that_writes_keeps_its_connections(postgresql_url: str) -> None:
    """A write in a read-only unit of work is an error of its own, and drops nothing."""
    database = Database.connect(postgresql_url)
    with database.reading() as session, pytest.raises(DBAPIError) as refusal:
        session.execute(text("CREATE TABLE odd (id int)"))
    database.dispose()
    assert not refusal.value.connection_invalidated


def test_relay_sends_nothing_from_a_read_only_database(
    postgresql_service: RunningService, postgresql_url: str
) -> None:
    """A relay that could not save its cursor sends no record."""
    postgresql_service.caller()
    seal(postgresql_service.services.database.engine, postgresql_service)
    sink = Kept()
    with read_only(postgresql_url):
        engine = make_engine(postgresql_url)
        relay = Relay(engine, postgresql_service.services.trail.tables, sink)
        with engine.connect() as connection, pytest.raises(DBAPIError):
            relay.deliver(connection)
        engine.dispose()
    assert 0 == sink.batches


def seal(engine: Engine, service: RunningService) -> None:
    """One pass of the sealer."""
    Sealer(engine, service.services.trail.tables).seal()
