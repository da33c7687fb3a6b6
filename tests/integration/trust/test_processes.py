"""Verification by several processes finds what one process finds, and leaves no process behind."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, text

from auditspan.storage import snapshot
from auditspan.verify import VerifyReport, sealed_rows, verify_trail
from auditspan.verify.processes import cores
from auditspan.verify.source import source_of
from auditspan_service.cli import main
from integration.trust.conftest import BATCHES, grown
from integration.trust.world import KEY, MAC, Trail, opened
from support.attacker import take_guards_away
from support.migrated import migrated_sqlite

RANGE = 7
#: Each of them is committed; together they touch the first, the last and other rows of ranges.
TAMPERING = (
    "UPDATE audit_event SET body = replace(body, '\"kim\"', '\"eve\"') WHERE id IN (1, 8, 20)",
    "UPDATE audit_event SET mac = NULL WHERE id = 14",
    "UPDATE audit_event SET tenant = 'other' WHERE id = 15",
    "DELETE FROM audit_event WHERE id = 22",
    "DELETE FROM audit_leaf WHERE seq IN (6, 7, 29)",
    "UPDATE audit_leaf SET seq = 1000000 WHERE seq = 31",
    "UPDATE audit_checkpoint SET note = NULL WHERE tree_size = 13",
)


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of a few rows, so that a short trail has several."""
    monkeypatch.setattr(sealed_rows, "RANGE", RANGE)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started to check rows."""
    found: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if "auditspan.verify.range_process" in arguments[0]:
                found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return found


def report(trail: Trail, processes: int | None, **options: Any) -> VerifyReport:
    """The report of so many processes."""
    with snapshot(trail.engine) as connection:
        keys = [KEY.public]
        return verify_trail(connection, trail.tables, MAC, keys, processes=processes, **options)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log of auditspan; OpenTelemetry warns after another test ended its providers."""
    return [one.getMessage() for one in caplog.records if one.name.startswith("auditspan")]


def tamper(engine: Engine) -> None:
    """Change the trail in many places."""
    with engine.begin() as connection:
        take_guards_away(connection)
        for statement in TAMPERING:
            connection.execute(text(statement))


@pytest.mark.usefixtures("small_ranges")
def test_processes_find_what_one_finds(
    fresh: Trail, started: list[subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    """The same report, every finding in the same order, of a sound and of a tampered trail."""
    fresh.grow(12, 1, 20, 3)
    sound = report(fresh, 1)
    assert sound == report(fresh, 2)
    tamper(fresh.engine)
    one = report(fresh, 1)
    with caplog.at_level(logging.WARNING):
        assert one == report(fresh, 2)
    assert (True, False) == (sound.ok, one.ok)
    assert {"gap", "missing-row", "mac", "column", "leaf", "root", "note"} <= {
        finding.kind for finding in one.findings
    }
    assert (4, []) == (len(started), warnings_of(caplog))


@pytest.mark.usefixtures("small_ranges")
def test_processes_read_translated_schemas(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    """Tables that the connection finds in another schema are read there by all processes."""
    with grown("postgresql", tmp_path, *BATCHES) as trail:
        names = [table.name for table in trail.tables.event.metadata.sorted_tables]
        with trail.engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA moved"))
            for name in names:
                connection.execute(text(f"ALTER TABLE {name} SET SCHEMA moved"))
        trail.engine = trail.engine.execution_options(schema_translate_map={None: "moved"})
        assert report(trail, 1) == report(trail, 2)
    assert (2, []) == (len(started), warnings_of(caplog))


@pytest.mark.usefixtures("small_ranges")
def test_failed_processes_are_replaced_by_the_caller(
    delivered: Trail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that cannot run, or is killed, is logged, and its rows are checked all the same."""
    expected = report(delivered, 1)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert expected == report(delivered, 2)
    assert "a process that verifies has failed, going on alone: it ended" in caplog.text


@pytest.mark.usefixtures("small_ranges")
def test_interrupted_verification_ends_its_processes(
    delivered: Trail, started: list[subprocess.Popen[bytes]]
) -> None:
    """Ctrl-C in the middle leaves no process behind."""

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report(delivered, 2, progress=interrupt)
    assert [True, True] == [process.returncode is not None for process in started]


def test_short_trails_need_no_processes(
    delivered: Trail, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default a long trail gets a process for each processor, and a short one none."""
    assert report(delivered, 1) == report(delivered, None)
    assert [] == started
    monkeypatch.setattr(sealed_rows, "SEVERAL_FROM", 10)
    monkeypatch.setattr(sealed_rows, "RANGE", 8)  # two ranges, and so two processes at most
    assert report(delivered, 1) == report(delivered, None)
    assert (2 if cores() > 1 else 0) == len(started)


def test_database_in_memory_has_no_other_readers() -> None:
    """Another process cannot read it, so that this one checks it alone."""
    with create_engine("sqlite://").connect() as connection:
        assert source_of(connection) is None


def test_database_is_read_with_the_settings_of_the_session(fresh: Trail) -> None:
    """Another process reads the same tables, whatever the search path of the session is."""
    if fresh.engine.dialect.name == "sqlite":
        return
    with snapshot(fresh.engine) as connection:
        connection.execute(text("SET LOCAL search_path = pg_catalog"))
        source = source_of(connection)
        assert source
        with source.connected() as other:
            assert "pg_catalog" == other.scalar(text("SHOW search_path"))
    assert "password" not in repr(source)


PROGRAM = """
import sys
from sqlalchemy import MetaData, create_engine
from auditspan import MacKey
from auditspan.storage import audit_tables, snapshot
from auditspan.verify import sealed_rows, verify_trail

sealed_rows.RANGE = 7
print("started", file=sys.stderr)
with snapshot(create_engine(sys.argv[1])) as connection:
    key = MacKey.from_secret(bytes(range(32)))
    print(verify_trail(connection, audit_tables(MetaData()), key, processes=2).ok)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Trail]]:
    """A trail of the service on SQLite, and its URL."""
    url = migrated_sqlite(tmp_path / "trail.db")
    with opened(url, tmp_path / "collector") as trail:
        trail.grow(12, 1, 20)
        yield url, trail


def test_program_without_a_guarded_main_may_verify(
    served: tuple[str, Trail], tmp_path: Path
) -> None:
    """The caller's `__main__` is not imported by the processes."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), served[0]], capture_output=True, text=True, check=True
    )
    assert ("True\n", "started\n") == (done.stdout, done.stderr)


@pytest.mark.usefixtures("small_ranges")
def test_command_reports_the_same_by_several_processes(
    served: tuple[str, Trail], tmp_path: Path
) -> None:
    """`--processes` changes neither the report nor the exit code."""
    url, trail = served
    mac = tmp_path / "mac.key"
    mac.write_text(MAC.dump())
    mac.chmod(0o600)
    environ = {"AUDITSPAN_DATABASE_URL": url, "AUDITSPAN_MAC_KEY_FILE": str(mac)}

    def verified(processes: str) -> tuple[int, dict[str, Any]]:
        arguments = ["verify", "--json", "--public-key", KEY.public.vkey]
        done = CliRunner().invoke(main, [*arguments, "--processes", processes], env=environ)
        return done.exit_code, json.loads(done.stdout)

    sound = verified("1")
    assert (0, sound) == (sound[0], verified("2"))
    tamper(trail.engine)
    tampered = verified("1")
    assert (1, tampered) == (tampered[0], verified("2"))
