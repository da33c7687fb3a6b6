"""Who may purge on PostgreSQL: one role, which records nothing; and whole partitions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail, ErasureKey, RetentionError, audit_context
from auditspan.delivery import FileSink, Relay
from auditspan.seal import Sealer
from auditspan.seal.guards import check_guards
from auditspan.storage import PARTITIONS, AuditTables, audit_tables, snapshot
from auditspan.trail.retention.purging import purge_rows
from auditspan.verify import check_state, verify_trail
from auditspan_service.database.engine import make_engine
from auditspan_service.models import Base, User
from integration.retention.shop import KEY, KIM, LEE, MAC, Shop
from integration.scaling.conftest import partition
from support.postgres import empty_database
from support.roles import Deployed, deployed_database

TABLES: AuditTables = audit_tables(Base.metadata)


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    """A database under deployed rights."""
    with deployed_database() as place:
        yield place


@pytest.mark.parametrize("role", ["app", "worker", "auditor"])
@pytest.mark.parametrize("call", ["auditspan_purge(1, 9)", "auditspan_purge_partitions()"])
def test_only_the_purger_may_purge(deployed: Deployed, role: str, call: str) -> None:
    """Neither who records, nor who seals, nor who reads."""
    with pytest.raises(DBAPIError, match="permission denied for function"):
        ask(deployed.url(role), f"SELECT {call}")


def test_purger_may_only_read_and_purge(deployed: Deployed) -> None:
    """It cannot record an event, change a row, or delete one itself."""
    url = deployed.url("purger")
    assert 0 == ask(url, "SELECT auditspan_purge(1, 9)")
    for statement in (
        "INSERT INTO audit_event (body) VALUES ('{}')",
        "UPDATE audit_event SET body = '{}'",
        "DELETE FROM audit_event",
        "DELETE FROM audit_leaf",
        "UPDATE audit_delivery SET safe_seq = 9",
        "SELECT * FROM users",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            ask(url, statement)
    engine = make_engine(url)
    assert purge_rows(engine, TABLES).event_id is None
    engine.dispose()


def test_each_role_does_its_part(deployed: Deployed, tmp_path: Path) -> None:
    """The application authorises, the worker seals and delivers, the purger removes."""
    app, worker, purger = (make_engine(deployed.url(one)) for one in ("app", "worker", "purger"))
    sessions = sessionmaker(app)
    erasure_key = ErasureKey.from_secret(bytes(32))
    trail = AuditTrail(sessions, metadata=Base.metadata, mac_key=MAC, erasure_key=erasure_key)

    def settle() -> None:
        while Sealer(worker, TABLES, signing_key=KEY, mac_key=MAC).seal():
            pass
        sink = FileSink(tmp_path)
        with worker.connect() as connection:
            Relay(worker, TABLES, sink).deliver(connection)
        sink.close()
        newest = select(func.max(TABLES.leaf.c.seq)).scalar_subquery()
        with worker.begin() as connection:
            connection.execute(update(TABLES.delivery).values(safe_seq=newest))

    with audit_context(actor=KIM), sessions.begin() as session:
        session.add(User(username="lee"))
    settle()
    with audit_context(actor=LEE), sessions() as session:
        plan = trail.retention.authorise(session, before=datetime.now(UTC), reason="policy")
    settle()
    with pytest.raises(RetentionError, match="may not purge"):
        trail.retention.purge()
    assert plan.rows == purge_rows(purger, TABLES, [MAC]).removed == 1
    with snapshot(app) as connection:
        assert [] == verify_trail(connection, TABLES, MAC, [KEY.public]).findings
        assert check_state(connection, TABLES, Base.metadata, mac_key=MAC).ok
    for engine in (app, worker, purger):
        engine.dispose()


def test_guards_report_a_role_that_records_and_purges(deployed: Deployed) -> None:
    """Until the right is taken from it."""
    assert [] == role_findings(deployed)
    deployed.run("GRANT EXECUTE ON FUNCTION auditspan_purge(bigint, bigint) TO {app}")
    (found,) = role_findings(deployed)
    assert "may both record events and purge them" in found
    deployed.run("REVOKE EXECUTE ON FUNCTION auditspan_purge(bigint, bigint) FROM {app}")
    assert [] == role_findings(deployed)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE OR REPLACE FUNCTION auditspan_purgeable() RETURNS bigint LANGUAGE sql RETURN 9",
        "GRANT EXECUTE ON FUNCTION auditspan_purge(bigint, bigint) TO PUBLIC",
        "DROP FUNCTION auditspan_purge_partitions()",
    ],
)
def test_guards_report_functions_that_were_changed(change: str) -> None:
    """One sentence names the function."""
    with empty_database() as url:
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        with engine.connect() as connection:
            connection.execute(text(change))
            found = [one.detail for one in check_guards(connection, TABLES)]
        engine.dispose()
    assert 1 == sum("The function auditspan_purg" in one for one in found)


CLOCK = "ALTER TABLE audit_event ALTER recorded_at SET DEFAULT clock_timestamp()"


@pytest.mark.parametrize("covers_all", [True, False])
def test_past_partitions_are_dropped_whole(tmp_path: Path, covers_all: bool) -> None:  # noqa: FBT001
    """If a purge covers all of their rows; else the covered rows are deleted."""
    with empty_database() as url:
        engine = create_engine(url)
        shop = Shop(engine, tmp_path)
        shop.add(1, 2, 3)
        shop.settle()
        partition(engine)
        (first,) = [name for name in names(shop) if "before" in name]
        cut = shop.now()
        if not covers_all:
            shop.price(1, 5)
        shop.run(
            f"ALTER TABLE {first} RENAME TO audit_event_before_2020_01",
            f"{CLOCK} + interval '31 days'",
        )
        report = shop.purge(cut)
        dropped = ("audit_event_before_2020_01",) if covers_all else ()
        assert (dropped, 3) == (report.partitions, report.removed)
        assert covers_all == ("audit_event_before_2020_01" not in names(shop))
        shop.require_clean()
        engine.dispose()


def names(shop: Shop) -> list[str]:
    """The partitions."""
    with shop.engine.connect() as connection:
        found = PARTITIONS.of(connection).partitions_of(connection, shop.tables.event)
        return [one.bare for one in found]


def role_findings(place: Deployed) -> list[str]:
    """What the guards say about the role of the service."""
    engine = make_engine(place.url("app"))
    with engine.connect() as connection:
        found = [one.detail for one in check_guards(connection, TABLES) if one.kind == "role"]
    engine.dispose()
    return found


def ask(url: str, statement: str) -> object:
    """Run a statement as the role of this URL."""
    engine: Engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        engine.dispose()
