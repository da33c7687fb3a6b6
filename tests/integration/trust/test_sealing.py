"""The sealer reads again before it signs, looks everywhere now and then, and changes its keys."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, event, text

from auditspan import MacKey
from auditspan.delivery.sinks import FileSink
from auditspan.delivery.worker import Worker
from auditspan.seal.sealer import Sealer
from auditspan.storage import snapshot
from auditspan.tlog.checkpoint import sign_checkpoint
from auditspan.tlog.merkle import Tree
from auditspan.tlog.note import NoteError, SigningKey, open_note
from auditspan.verify.trail import verify_trail
from integration.trust.backups import run
from integration.trust.conftest import grown
from integration.trust.world import KEY, MAC, OTHER_LOG, Trail, opened, ours
from support.patience import PATIENCE
from support.postgres import empty_database

NEXT_KEY = SigningKey(name=KEY.name, seed=bytes([7]) * 32)
NEXT_MAC = MacKey.from_secret(bytes([7]) * 32)


@contextmanager
def between(trail: Trail, statement: str) -> Iterator[None]:
    """Execute a statement between the sealer's insert of leaves and its second reading."""

    def strike(connection: Connection, _cursor: object, said: str, *_: object) -> None:
        if said.lstrip().startswith("INSERT INTO audit_leaf"):
            connection.exec_driver_sql(statement)

    event.listen(trail.engine, "after_cursor_execute", strike)
    yield
    event.remove(trail.engine, "after_cursor_execute", strike)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET body = replace(body, 'kim', 'eve') WHERE id = 2",
        "UPDATE audit_event SET mac = NULL WHERE id = 3",
        "DELETE FROM audit_event WHERE id = 1",
        "DELETE FROM audit_leaf WHERE seq = 2",
    ],
)
def test_rows_that_change_while_they_are_sealed_are_not_signed(
    fresh: Trail, caplog: pytest.LogCaptureFixture, statement: str
) -> None:
    """The table as it is stored is signed: otherwise nothing is kept, and the sealer retries."""
    fresh.write(3)
    with fresh.attack() as attack:
        attack.connection.commit()  # the guards stay away
    with caplog.at_level(logging.ERROR), between(fresh, statement):
        assert 0 == fresh.sealer().seal()
    assert ["audit rows changed while they were being sealed"] == [
        one.getMessage().partition(",")[0] for one in ours(caplog)
    ]
    assert ([], 0) == (fresh.sizes(), fresh.report().tree_size)
    assert 3 == fresh.sealer().seal()
    assert [] == fresh.report().findings


def test_nothing_new_is_not_signed_again(fresh: Trail) -> None:
    """A size is signed once."""
    fresh.grow(2)
    assert (0, 0) == (fresh.sealer().seal(), fresh.sealer().sweep())
    assert [2] == fresh.sizes()


def hide(trail: Trail) -> None:
    """Put a row where the sealer does not look: behind what it has seen."""
    trail.write(1)
    with trail.attack() as attack:
        if trail.engine.dialect.name == "postgresql":
            attack.run(
                "UPDATE audit_event SET xact_id = '3' WHERE id = (SELECT max(id) FROM audit_event)"
            )
        else:
            attack.run(
                "UPDATE audit_event SET id = -id WHERE id = (SELECT max(id) FROM audit_event)"
            )
        attack.connection.commit()


def test_a_row_behind_the_sealers_back_is_found(
    delivered: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    """It is never come upon, until the sweep seals it, which says so."""
    hide(delivered)
    delivered.write(2)
    delivered.seal()
    assert (18, 1) == (delivered.report().tree_size, delivered.report().unsealed)
    with caplog.at_level(logging.ERROR):
        assert 1 == delivered.sealer().sweep()
    assert ["was inserted out of order" in one.getMessage() for one in ours(caplog)] == [True]
    delivered.grow(1)
    assert (20, 0) == (delivered.report().tree_size, delivered.report().unsealed)
    assert [] == delivered.report(witnessed=True).findings


@pytest.mark.parametrize("kept", [[KEY], [NEXT_KEY], [KEY, NEXT_KEY]], ids=["old", "new", "both"])
def test_a_key_takes_the_place_of_another(fresh: Trail, kept: list[SigningKey]) -> None:
    """The old key alone, then both, then the new one: who trusts both finds nothing wrong.

    Who trusts one of them can check as far as it has signed.
    """
    fresh.write(1)
    fresh.seal(keys=[KEY])
    fresh.write(1)
    fresh.seal(keys=[NEXT_KEY, KEY])
    fresh.write(1)
    fresh.seal(keys=[NEXT_KEY])
    with snapshot(fresh.engine) as connection:
        notes = list(connection.scalars(text("SELECT note FROM audit_checkpoint ORDER BY 1")))
        both = [KEY.public, NEXT_KEY.public]
        assert [1, 1, 2] == sorted(len(open_note(note, both).signers) for note in notes)
        public = [key.public for key in kept]
        found = verify_trail(connection, fresh.tables, MAC, public).findings
    expected = {0: [] if len(kept) == 2 else [("note", 2 if kept == [KEY] else 0)]}[0]
    assert expected == [(one.kind, one.seq) for one in found]


def test_two_logs_are_not_signed_in_one() -> None:
    """The keys of a log have one name."""
    with pytest.raises(NoteError, match="the same name"):
        sign_checkpoint([KEY, OTHER_LOG], Tree(), 1)
    with pytest.raises(NoteError, match="the same name"):
        sign_checkpoint([], Tree(), 1)


def test_a_mac_key_takes_the_place_of_another(
    fresh: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows under either key are whole for who has both, and named for who has one."""
    fresh.write(1)
    fresh.write(2, NEXT_MAC)
    with caplog.at_level(logging.ERROR):
        fresh.sealer().seal()
    assert 2 == len(ours(caplog))  # this sealer has the first alone
    with snapshot(fresh.engine) as connection:
        both = verify_trail(connection, fresh.tables, [NEXT_MAC, MAC], [KEY.public])
        one = verify_trail(connection, fresh.tables, NEXT_MAC, [KEY.public])
    assert ([], [("mac", 0)]) == (both.findings, [(f.kind, f.seq) for f in one.findings])


@pytest.mark.parametrize("value", ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC"])
def test_invalid_time_does_not_stop_the_sealer(tmp_path: Path, value: str) -> None:
    """PostgreSQL has times that Python has not: sealed as they are, found when put in later."""
    with grown("postgresql", tmp_path) as trail:
        trail.write(2)
        with trail.attack() as attack:
            attack.run("UPDATE audit_event SET recorded_at = :value WHERE id = 2", value=value)
            attack.connection.commit()
        trail.seal()
        assert [] == trail.report().findings
        with trail.attack() as attack:
            attack.run("UPDATE audit_event SET recorded_at = :value WHERE id = 1", value=value)
            assert {"leaf"} == attack.kinds()


def test_no_false_alarm_while_others_write(fresh: Trail) -> None:
    """Fifty verifications while rows are written and sealed."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            fresh.grow(3)

    fresh.grow(1)
    writer = threading.Thread(target=work)
    writer.start()
    try:
        reports = [fresh.report() for _ in range(50)]
        while reports[-1].tree_size == reports[0].tree_size:
            reports.append(fresh.report())
    finally:
        stop.set()
        writer.join()
    assert [] == [one for report in reports for one in report.findings]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns"])
def test_no_false_alarm_from_maintenance_or_another_time_zone(tmp_path: Path, zone: str) -> None:
    """Rows are moved on the disk, and clocks read otherwise."""
    with grown("postgresql", tmp_path, 3, 4) as trail:
        with trail.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM FULL audit_event"))
            connection.execute(text("VACUUM FULL audit_leaf"))
        assert [] == trail.report().findings
        plain = create_engine(trail.engine.url)
        with plain.connect() as connection:
            connection.execute(text(f"SET TIME ZONE '{zone}'"))
            connection.execute(text("SET datestyle = 'German'"))
            assert [] == trail.report_on(connection, witnessed=True).findings
        plain.dispose()


def test_no_false_alarm_after_dump_and_restore(tmp_path: Path) -> None:
    """In another database, where the trail goes on: dumped rows are sealed, new ones follow."""
    with empty_database() as first, empty_database() as second:
        dump = tmp_path / "trail.sql"
        with opened(first, tmp_path / "collector") as trail:
            trail.grow(3, 4)
            trail.write(2)  # not sealed yet
        bare = [url.replace("postgresql+psycopg", "postgresql") for url in (first, second)]
        run("pg_dump", "--file", dump, bare[0])
        run("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", dump, bare[1])
        with opened(second, tmp_path / "collector") as restored:
            restored.written = 100
            restored.grow(2)
            report = restored.report(witnessed=True)
    assert ([], 11, 0) == (report.findings, report.tree_size, report.unsealed)


def test_failing_sweep_does_not_delay_sealing(
    fresh: Trail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It reads the whole table, and may take too long each time: it is not tried at every pass."""

    def fail(_sealer: Sealer) -> int:
        raise TimeoutError("canceling statement due to statement timeout")

    monkeypatch.setattr(Sealer, "sweep", fail)
    worker = Worker(fresh.engine, fresh.tables, FileSink(fresh.folder), interval=0.02, mac_key=MAC)
    worker.start()
    try:
        for _ in range(5):
            fresh.write(1)
            assert worker.drain(PATIENCE)
            time.sleep(0.1)  # some passes that find nothing
    finally:
        worker.stop()
    failed = [one for one in ours(caplog) if one.getMessage().startswith("sealing failed")]
    assert (5, 1) == (fresh.report().tree_size, len(failed))


def test_a_steady_load_is_sealed_in_few_passes(fresh: Trail) -> None:
    """A pass begins at most once in an interval, however many rows are committed meanwhile."""
    interval, began = 0.3, time.monotonic()
    worker = Worker(
        fresh.engine, fresh.tables, FileSink(fresh.folder), interval=interval, signing_key=KEY
    )
    worker.start()
    try:
        while time.monotonic() < began + 5 * interval:
            fresh.write(1)
        assert worker.drain(PATIENCE)
    finally:
        worker.stop()
    assert fresh.report().checkpoints <= (time.monotonic() - began) / interval + 1


def test_cut_connections_are_logged_once_and_delivery_continues(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server ends all sessions: one line says so, one that it is over, none has a traceback."""
    with grown("postgresql", tmp_path) as trail:
        worker = Worker(trail.engine, trail.tables, FileSink(trail.folder), mac_key=MAC)
        worker.start()
        try:
            trail.write(1)
            assert worker.drain(PATIENCE)
            with trail.engine.begin() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            trail.write(1)
            assert worker.drain(PATIENCE)
        finally:
            worker.stop()
    logged = [one for one in ours(caplog) if one.getMessage().startswith("delivery to file")]
    assert ["interrupted", "continues"] == [
        "continues" if "continues" in one.getMessage() else "interrupted" for one in logged
    ]
    assert [None, None] == [one.exc_info for one in logged]
