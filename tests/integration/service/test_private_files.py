"""The data directory and the database are for their owner alone, whatever the umask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditspan.storage.keys import load_or_create_mac_key
from auditspan_service.cli import main
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from support.running import Up


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Files of the block, and of the processes that it starts, are created with this umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(*paths: Path) -> list[str]:
    """The permissions of the paths, in octal."""
    return [f"{path.stat().st_mode & 0o7777:04o}" for path in paths]


def open_to_others(directory: Path) -> list[str]:
    """Every path at or below a directory that its group or others may use."""
    paths = (directory, *directory.rglob("*"))
    return [f"{path} {modes(path)[0]}" for path in paths if path.lstat().st_mode & 0o077]


def invoke(*arguments: str, data: Path) -> Result:
    """One command on a data directory, to its end, in this process."""
    environ = {"AUDITSPAN_ALLOW_UNGUARDED": "1"}
    return CliRunner().invoke(main, ["--data", str(data), *arguments], env=environ)


def exposed(data: Path) -> Path:
    """A data directory as earlier releases left it; the path of its database."""
    assert invoke("db", "upgrade", data=data).exit_code == 0
    database = data / "auditspan.db"
    data.chmod(0o755)
    database.chmod(0o644)
    return database


@pytest.mark.parametrize("mask", [0o022, 0o000], ids=["umask 022", "umask 000"])
def test_up_creates_no_file_that_others_may_open(tmp_path: Path, mask: int) -> None:
    """Database, keys and files of the sink are private under a permissive umask."""
    data = tmp_path / "missing" / "data"
    data.parent.mkdir()
    with umask(mask), Up(data, environ={"AUDITSPAN_SINK": "file"}) as up:
        up.client.post("/v1/users", json={"username": "kim"}).raise_for_status()
        assert ["0700", "0600"] == modes(data, data / "auditspan.db")
        assert [] == open_to_others(data)
    assert [] == open_to_others(data)


def test_the_collector_of_up_writes_into_directories_that_others_may_not_open(
    tmp_path: Path, collector_bin: Path
) -> None:
    """The collector sets the mode of its files itself, and they are closed by their directories."""
    data = tmp_path / "data"
    with umask(0), Up(data, environ={"OTELCOL_BIN": str(collector_bin)}) as up:
        assert up.said.collector
        up.client.post("/v1/users", json={"username": "kim"}).raise_for_status()
    folder = data / "collector"
    assert ["0700"] * 3 == modes(folder, folder / "audit", folder / "telemetry")
    written = {folder / "audit" / "audit.jsonl", *(folder / "telemetry").iterdir()}
    assert [] == [one for one in open_to_others(data) if Path(one[:-5]) not in written]


def test_up_closes_an_existing_directory_and_database_and_says_so(tmp_path: Path) -> None:
    """Modes that an earlier release left are repaired at the next start."""
    data = tmp_path / "data"
    database = exposed(data)
    with Up(data, environ={"AUDITSPAN_SINK": "file"}):
        assert ["0700", "0600"] == modes(data, database)
    said = (tmp_path / "data.err").read_text().splitlines()
    changed = "was accessible to other users: its mode was changed from"
    assert f"{data} {changed} 0755 to 0700." in said
    assert f"{database} {changed} 0644 to 0600." in said


@pytest.mark.parametrize("command", [("db", "upgrade"), ("worker",), ("serve", "--port", "1")])
def test_other_commands_close_the_database_too(
    tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that starts on an embedded database repairs its modes."""
    database = exposed(tmp_path / "data")
    monkeypatch.setattr(import_module("auditspan_service.cli.target"), "setup_logging", _stop)
    monkeypatch.setattr("os.execv", _stop)
    done = invoke(*command, data=tmp_path / "data")
    assert ["0700", "0600"] == modes(tmp_path / "data", database)
    assert f"{database} was accessible to other users" in done.stderr


def _stop(*_arguments: object, **_options: object) -> None:
    """End the command where its preparations end."""
    raise SystemExit(0)


def test_directories_of_the_collector_are_closed(tmp_path: Path) -> None:
    """Directories of the collector that an earlier release left open are repaired."""
    data = tmp_path / "data"
    exposed(data)
    folder = data / "collector" / "audit"
    folder.mkdir(parents=True)
    folder.chmod(0o750)
    said = invoke("db", "upgrade", data=data).stderr
    assert ["0700"] == modes(folder)
    changed = "was accessible to other users: its mode was changed from"
    assert f"{folder} {changed} 0750 to 0700." in said


def test_a_directory_for_everybody_keeps_its_mode(tmp_path: Path) -> None:
    """A data directory such as `/tmp` is reported, and other programs can go on using it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    done = invoke("db", "upgrade", data=shared)
    assert ["1777", "0600"] == modes(shared, shared / "auditspan.db")
    assert f"WARNING: {shared} is a shared directory (mode 1777)" in done.stderr


def test_the_directory_of_a_key_group_is_left_alone(tmp_path: Path) -> None:
    """With a server's database the data directory may hold keys that a group shares."""
    data = tmp_path / "data"
    data.mkdir(mode=0o750)
    environ = {"AUDITSPAN_DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    done = CliRunner().invoke(main, ["--data", str(data), "db", "upgrade"], env=environ)
    assert (2, ["0750"]) == (done.exit_code, modes(data))


@pytest.mark.parametrize("form", ["{}", "file:{}?uri=true"], ids=["path", "URI"])
def test_migration_creates_a_private_database_under_any_umask(tmp_path: Path, form: str) -> None:
    """The database and every directory above it are private, also without the command line."""
    file = tmp_path / "a" / "b" / "trail.db"
    engine = make_engine("sqlite:///" + form.format(file))
    with umask(0):
        upgrade(engine)
    engine.dispose()
    assert ["0700", "0700", "0600"] == modes(tmp_path / "a", tmp_path / "a" / "b", file)


def test_key_file_is_created_below_private_directories(tmp_path: Path) -> None:
    """Every directory that is created for a key is private, not only the last one."""
    with umask(0):
        load_or_create_mac_key(tmp_path / "data" / "keys" / "mac.key", create=True)
    assert ["0700", "0700"] == modes(tmp_path / "data", tmp_path / "data" / "keys")


def test_command_leaves_the_umask_of_its_process(tmp_path: Path) -> None:
    """A program that invokes a command keeps its own umask."""
    with umask(0o022):
        invoke("db", "upgrade", data=tmp_path / "data")
        assert 0o022 == os.umask(0o022)
