"""Workers under SIGSTOP, and roles that try to stop a worker."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import ProgrammingError

from auditspan.delivery.cursors import Cursors, load_cursors, save_cursors
from auditspan.delivery.log_record import ExportRecord
from auditspan.delivery.sinks import FileSink
from auditspan.storage.locks import try_sealer_lock
from auditspan.storage.locks.leases import Lease, LeaseLostError, acquire
from auditspan.storage.locks.stored_leases import DURATION, read_leases
from auditspan.storage.tables import audit_tables
from auditspan_service.database.engine import make_engine
from faults.load import Load
from faults.oracle import require_whole
from faults.place import Place, wait_for
from faults.test_locks import another, sent
from integration.trust.world import Trail, opened
from support.cluster import Cluster
from support.patience import promised
from support.program import Program

pytestmark = pytest.mark.timeout(900)

SHORT = 4.0
"""Seconds that a lease lasts in tests of this process, which need not wait for the whole of it."""

REPLACED = promised(2.5 * DURATION)
"""Seconds in which a frozen process is replaced, also one with a transaction under way."""

NAME = "auditspan.relay.file"
LEADER = text("SELECT sink FROM audit_delivery WHERE sink LIKE 'lease:auditspan.relay.%'")
SENT = text("SELECT coalesce(max(sent_seq) + 1, 0) FROM audit_delivery")
WRITTEN = text("SELECT count(*) FROM audit_event")
AGED = text("UPDATE audit_delivery SET updated_at = now() - interval '1 hour'")
ADVISORY = text("SELECT pg_advisory_lock(:key)")
ROW_LOCK = "SELECT * FROM audit_delivery FOR UPDATE"
ANSWER = b"SELECT repeat('x', 10000) FROM generate_series(1, 100000)"


@pytest.fixture
def trail(cluster: Cluster, tmp_path: Path) -> Iterator[Trail]:
    """A trail on PostgreSQL."""
    with cluster.database() as url, opened(url, tmp_path / "collector") as made:
        yield made


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let leases and locks of this process expire sooner."""
    for module in ("leases", "sealer_lock"):
        monkeypatch.setattr(f"auditspan.storage.locks.{module}.DURATION", SHORT)
    monkeypatch.setattr("auditspan.storage.locks.leases.RENEWAL", SHORT / 8)


@contextmanager
def frozen(program: Program) -> Iterator[None]:
    """A program that is stopped for the length of the block."""
    os.killpg(program.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(program.pid, signal.SIGCONT)


def leader(place: Place, programs: list[Program]) -> Program:
    """The program that holds the lease of the relay."""
    with place.superuser.connect() as connection:
        key = str(connection.execute(LEADER).scalar_one())
    (pid,) = re.findall(r" [^/]+/(\d+)/", key)
    return next(one for one in programs if one.pid == int(pid))


def is_delivered(place: Place) -> bool:
    """Whether everything that is written now has been acknowledged."""
    with place.superuser.connect() as connection:
        written = connection.execute(WRITTEN).scalar_one()
        return bool(connection.execute(SENT).scalar_one() >= written)


def is_working(place: Place) -> bool:
    """What `/readyz` says of the workers."""
    with httpx.Client(base_url=place.url, trust_env=False, timeout=60) as client:
        return client.get("/readyz").json()["worker"]["running"] is True


def test_frozen_leader_is_replaced(place: Place) -> None:
    """The other worker delivers, and what the leader does when it wakes up breaks nothing."""
    place.service()
    programs = [place.worker("one"), place.worker("other")]
    with Load(place) as load:
        load.await_made(20)
        first = leader(place, programs)
        with frozen(first):
            load.await_made(20)
            wait_for(lambda: leader(place, programs) is not first, REPLACED, "no worker took over")
            load.await_made(20)
        load.await_made(20)
    require_whole(place, load)
    assert leader(place, programs) is not first


def test_frozen_workers_are_not_reported_as_running(place: Place) -> None:
    """`/readyz` says so, and says the opposite again when the worker goes on."""
    place.service()
    program = place.worker()
    wait_for(lambda: is_working(place), REPLACED, "the worker does not work")
    with frozen(program):
        wait_for(lambda: not is_working(place), REPLACED, "a frozen worker is said to run")
    assert wait_for(lambda: is_working(place), REPLACED, "the worker does not go on") >= 0


def test_doctor_names_a_frozen_worker(place: Place) -> None:
    """The finding has the process of the worker that holds the expired lease."""
    program = place.worker()
    wait_for(lambda: _is_led(place), REPLACED, "the worker does not work")
    with frozen(program):
        wait_for(lambda: not _is_current(place), REPLACED, "the lease does not expire")
        report = place.command("doctor", "--json", "--collector-config", "otel-collector.yaml")
    found = [one["detail"] for one in report["findings"] if one["kind"] == "lease"]
    assert [f"process {program.pid} on "] == re.findall(r"process \d+ on ", "".join(found))


def test_doctor_names_the_worker_that_delivers(place: Place) -> None:
    """The report has the holder of the lease."""
    program = place.worker()
    wait_for(lambda: _is_led(place), REPLACED, "the worker does not work")
    report = place.command("doctor", "--json", "--collector-config", "otel-collector.yaml")
    (holder,) = [one["holder"] for one in report["workers"]]
    assert f"process {program.pid} on " == re.findall(r"^process \d+ on ", holder)[0]


def _is_led(place: Place) -> bool:
    with place.superuser.connect() as connection:
        key = connection.execute(LEADER).scalar()
        return key is not None and "/" in key


def _is_current(place: Place) -> bool:
    tables = audit_tables(MetaData())
    with place.superuser.connect() as connection:
        return read_leases(connection, tables)["auditspan.relay.otlp"].is_current


def taken(connection: Connection, trail: Trail) -> Lease:
    """A lease that was free."""
    lease = acquire(connection, trail.tables, NAME)
    assert isinstance(lease, Lease)
    connection.rollback()
    return lease


def test_relay_that_lost_its_lease_stores_no_cursor(trail: Trail) -> None:
    """The transaction of a woken relay is refused once another one has taken over."""
    with trail.engine.connect() as first, trail.engine.connect() as other:
        lease = taken(first, trail)
        with other.begin():
            other.execute(AGED)
        # In a process that lives and has a session, so only its age lets another take it.
        taken(other, trail)
        with pytest.raises(LeaseLostError), first.begin():
            lease.renew(first)
            save_cursors(first, trail.tables, "file", Cursors(sent=9, safe=9))
        assert Cursors() == load_cursors(other, trail.tables, "file")


def test_lease_that_is_renewed_is_not_taken(trail: Trail) -> None:
    """Another relay sees who holds it."""
    with trail.engine.connect() as first, trail.engine.connect() as other:
        lease = taken(first, trail)
        with first.begin():
            lease.renew(first)
        seen = acquire(other, trail.tables, NAME)
        assert lease.key == seen.key


def test_lease_of_an_ended_session_is_taken_at_once(trail: Trail) -> None:
    """A killed process is replaced without waiting."""
    engine = make_engine(trail.engine.url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        taken(connection, trail)
    engine.dispose()
    with trail.engine.connect() as connection:
        wait_for(lambda: _is_free(connection, trail), DURATION / 2, "it is held")
        assert isinstance(acquire(connection, trail.tables, NAME), Lease)


def _is_free(connection: Connection, trail: Trail) -> bool:
    with connection.begin():
        return not read_leases(connection, trail.tables)[NAME].is_current


@pytest.mark.usefixtures("short_leases")
def test_sealing_transaction_of_a_frozen_process_is_ended(trail: Trail) -> None:
    """Another sealer seals after the server has ended the idle transaction."""
    trail.write(10)
    with trail.engine.connect() as idle:
        assert try_sealer_lock(idle, trail.tables)
        wait_for(lambda: trail.sealer().seal() == 10, REPLACED, "nothing is sealed")
        idle.invalidate()
    assert [10] == trail.sizes()


@pytest.mark.usefixtures("short_leases")
def test_sealing_session_that_reads_no_answer_is_ended(
    trail: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    """A frozen process in the middle of an answer does not keep the lock; the log names it."""
    trail.write(10)
    with trail.engine.connect() as stuck:
        assert try_sealer_lock(stuck, trail.tables)
        driver: Any = stuck.connection.driver_connection
        pid = driver.info.backend_pid
        driver.pgconn.send_query(ANSWER)
        sealer = trail.sealer()
        try:
            wait_for(lambda: sealer.seal() == 10, REPLACED, "nothing is sealed")
        finally:
            driver.pgconn.finish()
            stuck.invalidate()
    named = " ".join(
        one.message for one in caplog.records if "does not read results" in one.message
    )
    assert [str(pid)] == re.findall(r"database session (\d+) ", named)


def test_application_role_cannot_lock_what_a_worker_needs(place: Place) -> None:
    """It has no right to lock rows of `audit_delivery`."""
    engine = make_engine(place.database.url("app"))
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text(ROW_LOCK))
    engine.dispose()


def test_advisory_locks_stop_no_worker(place: Place) -> None:
    """Everything is sealed and delivered while the application's role holds advisory locks."""
    place.service()
    engine = make_engine(place.database.url("app"))
    with ExitStack() as held:
        connection = held.enter_context(engine.connect())
        for name in ("auditspan.sealer", "auditspan.relay.otlp"):
            digest = hashlib.sha256(name.encode()).digest()
            key = int.from_bytes(digest[:8], "big", signed=True)  # the lock of earlier releases
            connection.execute(ADVISORY, {"key": key})
        place.worker()
        with Load(place) as load:
            load.await_made(20)
        wait_for(lambda: is_delivered(place), REPLACED, "locks of others stop the worker")
    engine.dispose()
    require_whole(place, load)


@pytest.mark.usefixtures("short_leases")
def test_slow_sink_does_not_lose_the_lease(trail: Trail, tmp_path: Path) -> None:
    """A relay that sends for longer than a lease lasts goes on leading."""
    trail.write(1)
    trail.seal()
    url = trail.engine.url.render_as_string(hide_password=False)
    with another(url, trail, SlowSink(tmp_path / "slow")):
        wait_for(lambda: _is_led_by_file(trail), REPLACED, "no relay leads")
        with another(url, trail, FileSink(tmp_path / "other")):
            wait_for(lambda: sent(trail) == 1, REPLACED, "nothing is delivered")
    assert not (tmp_path / "other" / "audit").exists()


def _is_led_by_file(trail: Trail) -> bool:
    with trail.engine.connect() as connection:
        leases = read_leases(connection, trail.tables)
        return NAME in leases and leases[NAME].is_current


class SlowSink(FileSink):
    """A sink that takes longer than a lease lasts."""

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Write after a while."""
        time.sleep(SHORT * 1.3)
        super().send(records)
