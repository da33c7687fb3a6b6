"""What people get wrong, or find otherwise than they thought: a sentence, and an exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from auditspan.delivery.sinks import ConsoleSink
from auditspan.errors import SinkUnavailableError
from auditspan.seal.sealer import Sealer
from auditspan.storage.keys import load_mac_keys, load_or_create_signing_keys
from auditspan.storage.tables import audit_tables
from auditspan_service.cli import main
from auditspan_service.config import Settings, load_settings
from auditspan_service.database.engine import Database
from auditspan_service.files.up_file import announced
from auditspan_service.models import Base
from support.migrated import migrated_sqlite
from support.patience import PATIENCE
from support.running import AUDITSPAN, clean_environment

CREATE = ("keys", "create", "--username", "kim", "--scope", "admin")
DATA_TAKERS = [
    *(("db", name) for name in ("upgrade", "check", "guard", "partition", "restored")),
    ("keys", "list"),
    CREATE,
    ("keys", "revoke", "1"),
    ("keys", "rotate-mac"),
    ("keys", "cover"),
    ("users", "list"),
    ("users", "add", "kim"),
]
NO_PORT = "postgresql://kim:hunter2@127.0.0.1:1/trail"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a trail with two sealed rows, and both keys."""
    folder = tmp_path / "data"
    migrated_sqlite(folder / "auditspan.db")
    for making in (("keys", "init"), ("checkpoint", "--init"), CREATE):
        assert invoke(*making, "--data", str(folder)).exit_code == 0
    made = load_settings(data_dir=folder)
    database = Database.connect(made.database_url)
    keys = load_or_create_signing_keys(made.signing_key_file, create=False)
    macs = load_mac_keys(made.mac_key_file)
    Sealer(database.engine, audit_tables(Base.metadata), signing_key=keys, mac_key=macs).seal()
    database.dispose()
    return made


def run(settings: Settings, *arguments: str) -> Result:
    """One command on the trail of these settings."""
    return invoke(*arguments, "--data", str(settings.data_dir))


def invoke(*arguments: str, **environ: str) -> Result:
    """One command to its end, in this process, which keeps its environment."""
    variables = {"AUDITSPAN_DATA_DIR": None, **environ}
    return CliRunner().invoke(main, arguments, env=variables, prog_name="auditspan")


def test_skipped_checks_are_reported(settings: Settings) -> None:
    """Without its keys a trail can be verified in part, and both forms of the report say so."""
    whole = run(settings, "verify", "--json")
    assert (0, []) == (whole.exit_code, json.loads(whole.stdout)["unchecked"])
    settings.mac_key_file.unlink()
    settings.signing_key_file.unlink()
    part = run(settings, "verify", "--json")
    assert (0, ["mac", "signature"]) == (part.exit_code, json.loads(part.stdout)["unchecked"])
    shown = run(settings, "verify")
    assert shown.stdout.endswith("verified (not checked: mac, signature)\n")
    # Advice to make a key would be wrong: nothing was ever signed by that one.
    assert "make one" not in shown.stderr
    assert "--public-key" in shown.stderr


@pytest.mark.parametrize("name", ["mac_key_file", "signing_key_file"])
def test_damaged_key_is_not_treated_as_missing(settings: Settings, name: str) -> None:
    """What could not be checked although the key is there is not verified."""
    path: Path = getattr(settings, name)
    path.write_text("garbage")
    done = run(settings, "verify")
    assert (2, "") == (done.exit_code, done.stdout)
    assert str(path) in done.stderr


def test_a_trail_that_is_shorter_than_it_was(settings: Settings) -> None:
    """To begin behind the end is to check nothing, which is no success; at the end it is fine."""
    done = run(settings, "verify", "--since", "3")
    assert (2, "") == (done.exit_code, done.stdout)
    assert "the trail has only 2 sealed rows" in done.stderr
    assert 0 == run(settings, "verify", "--since", "2").exit_code


def test_short_trail_does_not_hide_a_state_difference(settings: Settings) -> None:
    """A trail that is too short does not hide that the live tables differ from it."""
    with closing(sqlite3.connect(settings.data_dir / "auditspan.db")) as connection, connection:
        connection.execute("UPDATE users SET username = 'nobody'")
    done = run(settings, "verify", "--since", "3", "--state")
    assert (1, True) == (done.exit_code, "username" in done.stdout)


@pytest.mark.parametrize("arguments", DATA_TAKERS, ids=" ".join)
def test_every_command_takes_the_directory(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """`--data` stands before the command or behind it."""
    folder = str(tmp_path / "data")
    before, behind = invoke("--data", folder, *arguments), invoke(*arguments, "--data", folder)
    assert before.exit_code == behind.exit_code
    assert "No such option" not in behind.stderr


def test_the_tour_goes_into_the_data_directory(tmp_path: Path) -> None:
    """Also where it is named before the command; what else is there is not removed."""
    other = tmp_path / "tour" / "diary.txt"
    other.parent.mkdir()
    other.touch()
    done = invoke("--data", str(tmp_path), "tour")
    assert 2 == done.exit_code
    assert f"{other.parent} contains files that are not a tour" in done.stderr
    assert other.exists()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """`up` says so before it makes anything: the first key would be made, and never shown."""
    folder = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = invoke("up", "--port", port, "--data", str(folder), AUDITSPAN_SINK="file")
    assert (2, False) == (done.exit_code, folder.exists())
    assert f"Cannot listen on port {port} of 127.0.0.1" in done.stderr
    assert "--port" in done.stderr


def test_serve_refuses_a_port_that_is_taken(settings: Settings) -> None:
    """One sentence, before gunicorn starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(settings, "serve", "--port", port)
    assert (2, "") == (done.exit_code, done.stdout)
    assert f"Error: Cannot listen on port {port} of 127.0.0.1" in done.stderr


def test_worker_beside_up_is_refused(settings: Settings) -> None:
    """`auditspan up` has a worker, which delivers to its own collector."""
    with announced(settings):
        done = run(settings, "worker")
    assert (2, "") == (done.exit_code, done.stdout)
    assert "`auditspan up` runs a worker" in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("db", "partition"), "Partitions of audit_event require PostgreSQL: "),
        (("coverage", "--app", "json:loads"), "A function does not lead to any models: "),
    ],
    ids=["db partition", "coverage"],
)
def test_errors_of_the_library_are_one_sentence(
    settings: Settings, command: tuple[str, ...], said: str
) -> None:
    """The words of the library are a sentence here, as everything else is."""
    done = run(settings, *command) if command[0] == "db" else invoke(*command)
    assert (2, "", 1) == (done.exit_code, done.stdout, done.stderr.count("\n"))
    assert done.stderr.startswith(f"Error: {said}")
    assert done.stderr.endswith(".\n")


def test_file_in_place_of_the_data_directory_is_refused(tmp_path: Path) -> None:
    """A file that cannot be used is named in a sentence, and no stack trace is shown."""
    file = tmp_path / "data"
    file.touch()
    done = invoke("up", "--port", "0", AUDITSPAN_DATA_DIR=str(file), AUDITSPAN_SINK="file")
    assert 2 == done.exit_code
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert str(file) in done.stderr


def test_a_database_that_does_not_answer() -> None:
    """Its reason is one clean line, without the password."""
    said = invoke("events", AUDITSPAN_DATABASE_URL=NO_PORT).stderr
    assert said.endswith("accepting TCP/IP connections. Check AUDITSPAN_DATABASE_URL.\n")
    assert ["\t" in said, "hunter2" in said, said.count("\n")] == [False, False, 1]


@pytest.mark.parametrize("command", [("trace", "zz"), ("events", "--trace-id", "zz")])
def test_invalid_trace_id_is_refused(settings: Settings, command: tuple[str, ...]) -> None:
    """It is a mistake, and not a trace of which nothing is known."""
    done = run(settings, *command)
    assert 2 == done.exit_code
    assert "32 hexadecimal digits" in done.stderr


def test_nothing_fits(settings: Settings) -> None:
    """Nothing found is said, where a program does not read it."""
    done = run(settings, "events", "--action", "user.nothing", "--json")
    assert (0, "", "No event matches.\n") == (done.exit_code, done.stdout, done.stderr)


def test_following_ends_with_ctrl_c(settings: Settings) -> None:
    """It is how one ends it, so it is no failure."""
    command = [
        str(AUDITSPAN),
        "events",
        "--follow",
        "--limit",
        "1",
        "--data",
        str(settings.data_dir),
    ]
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the head of the table
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            assert ("", 0) == (process.communicate(timeout=PATIENCE)[1], process.returncode)
        finally:
            process.kill()


def test_interrupted_check_does_not_count_as_a_finding(settings: Settings) -> None:
    """Ctrl-C while a log backend is asked ends with 130, since 1 would mean a difference."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [str(AUDITSPAN), "reconcile", "--backend", url, "--data", str(settings.data_dir)]
        with subprocess.Popen(
            command, env=clean_environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            silent.settimeout(PATIENCE)
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                said = process.communicate(timeout=PATIENCE)[1]
    assert (130, "Interrupted before the result was known.\n") == (process.returncode, said)


@pytest.mark.parametrize("command", ["export", "events", "verify"])
def test_command_into_a_closed_pipe_ends_quietly(settings: Settings, command: str) -> None:
    """A command whose reader is gone, as in `auditspan export | head`, prints no error."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [AUDITSPAN, command, "--data", settings.data_dir],
        env=clean_environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert b"" == done.stderr


class ClosedPipe(io.StringIO):
    """A stream whose reader is gone."""

    def flush(self) -> None:
        """Fail as a write into a closed pipe does."""
        raise BrokenPipeError


class Closed(io.StringIO):
    """A stream that was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.close()


@pytest.mark.parametrize("stream", [ClosedPipe, Closed, lambda: None])
def test_console_sink_without_a_console_logs_no_traceback(
    stream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A console that cannot be written is an unavailable sink, and nothing else is logged."""
    with pytest.raises(SinkUnavailableError, match="standard output cannot be written"):
        ConsoleSink(stream).send([])
    assert [] == caplog.records


def test_follow_prints_its_header_once(settings: Settings) -> None:
    """Rows that arrive later continue the table, in the columns of the header."""
    command: list[str | Path] = [AUDITSPAN, "events", "--follow", "--limit", "1"]
    command += ["--data", settings.data_dir]
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        lines = [following.stdout.readline() for _ in range(2)]
        for name in ("lee", "max"):
            assert 0 == run(settings, "users", "add", name).exit_code
            lines.append(following.stdout.readline())
        following.send_signal(signal.SIGINT)
        rest = following.stdout.read()
    position = lines[0].index("ACTION")
    actions = ["ACTION", "user.create", "user.create"]
    shown = [line[position:].split()[0] for line in (lines[0], *lines[2:])]
    assert (actions, "") == (shown, rest)
