"""The trails that are measured."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine, MetaData, select

from auditspan import Actor, MacKey, Request, Service, Target
from auditspan.format import AuditRecord, uuid7
from auditspan.seal import Sealer
from auditspan.storage import AuditTables, audit_tables, insert_records
from auditspan.tlog import SigningKey
from auditspan_service.database.engine import make_engine
from support.postgres import empty_database

MAC = MacKey.from_secret(bytes(range(32)))
KEY = SigningKey(name="auditspan/benchmark", seed=bytes(range(32)))


def record(number: int) -> AuditRecord:
    """An update of one column by a request, about 750 bytes."""
    moment = datetime.now(UTC)
    return AuditRecord(
        event_id=uuid7(int(moment.timestamp() * 1000), os.urandom(10)),
        occurred_at=moment,
        action="user.update",
        actor=Actor.user(7, label="kim"),
        tx_id=f"01a2-{number}",
        service=Service(name="shop", version="1.2.3", instance="627cc493-f310-47de-96bd-714"),
        target=Target(type="user", id=str(number), version=2),
        changes={"full_name": {"old": "Kim", "new": f"Kim Park {number}"}},
        request=Request(
            id=f"r-{number}",
            client_address="198.51.100.7",
            user_agent="curl/8.5.0",
            method="PATCH",
            route="/v1/users/<id>",
        ),
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        tenant="acme",
    )


@contextmanager
def database(kind: str) -> Iterator[tuple[Engine, AuditTables]]:
    """An engine on a database with the audit tables."""
    with tempfile.TemporaryDirectory() as folder, empty_database() as postgresql:
        url = f"sqlite:///{folder}/trail.db" if kind == "sqlite" else postgresql
        engine = make_engine(url)
        metadata = MetaData()
        tables = audit_tables(metadata)
        metadata.create_all(engine)
        try:
            yield engine, tables
        finally:
            engine.dispose()


def write(engine: Engine, tables: AuditTables, numbers: range) -> None:
    """Commit rows, a thousand at a time."""
    for start in range(numbers.start, numbers.stop, 1000):
        some = range(start, min(start + 1000, numbers.stop))
        with engine.begin() as connection:
            insert_records(connection, tables, [record(number) for number in some], MAC)


def bodies_of(engine: Engine, tables: AuditTables) -> list[bytes]:
    """All bodies."""
    with engine.connect() as connection:
        return [body.encode() for body in connection.scalars(select(tables.event.c.body))]


def seal(engine: Engine, tables: AuditTables) -> None:
    """Seal everything."""
    sealer = Sealer(engine, tables, signing_key=KEY, mac_key=MAC)
    while sealer.seal():
        pass
