"""`auditspan keys rotate-mac`: a new key for new rows, and nothing of the old ones is lost."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from auditspan.seal.sealer import Sealer
from auditspan.storage.keys import (
    load_mac_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
    rotate_mac_key,
    rotate_signing_key,
)
from auditspan_service.cli import main
from auditspan_service.config import Settings
from support.service import RunningService, running_service


def run(settings: Settings, *arguments: str) -> Result:
    """A command on the data and the database of these settings."""
    environ = {
        "AUDITSPAN_DATA_DIR": str(settings.data_dir),
        "AUDITSPAN_DATABASE_URL": settings.database_url,
    }
    return CliRunner().invoke(main, arguments, env=environ, prog_name="auditspan")


def said(settings: Settings, *arguments: str) -> dict[str, Any]:
    """The object that a command prints which finds nothing wrong."""
    done = run(settings, *arguments, "--json")
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def seal(service: RunningService, settings: Settings) -> None:
    """Seal as a worker does that starts now."""
    keys = load_or_create_signing_keys(settings.signing_key_file, create=True)
    macs = load_mac_keys(settings.mac_key_file)
    tables = service.services.trail.tables
    Sealer(service.services.database.engine, tables, signing_key=keys, mac_key=macs).seal()


def test_a_key_takes_the_place_of_another(settings: Settings) -> None:
    """Who runs goes on under the old key, who starts writes under the new one; all of it is whole.

    The trail is verified, and replayed, before the change, between change and restart, and after.
    """
    first = load_or_create_mac_key(settings.mac_key_file, create=False).key_id
    verify = ("verify", "--state")
    with running_service(settings) as service:
        kim = service.caller()
        seal(service, settings)
        assert said(settings, *verify)["ok"]
        rotated = said(settings, "keys", "rotate-mac")
        assert (rotated["previous"], rotated["mac_key_file"]) == (
            [first],
            str(settings.mac_key_file),
        )
        kim.create(username="lee")
        seal(service, settings)
        assert said(settings, *verify)["ok"]
    with running_service(settings) as service:
        service.caller(username="max")
        seal(service, settings)
        key_id = service.services.trail.tables.event.c.mac_key_id
        with service.services.database.reading() as session:
            used = [row.mac_key_id for row in session.execute(key_id.table.select())]
    assert used == [first] * 3 + [rotated["mac_key_id"]] * 2
    report = said(settings, *verify)
    assert (report["ok"], report["rows"], report["tree_size"]) == (True, 5, 5)


def test_missing_old_key_is_reported(settings: Settings) -> None:
    """Rows under a key that is not in the file are named: never take a line out of it."""
    with running_service(settings) as service:
        service.issue("admin")
        seal(service, settings)
    run(settings, "keys", "rotate-mac")
    lines = settings.mac_key_file.read_text().splitlines(keepends=True)
    settings.mac_key_file.write_text(lines[0])
    done = run(settings, "verify", "--json")
    assert done.exit_code == 1
    assert {one["kind"] for one in json.loads(done.stdout)["findings"]} == {"mac"}


def test_rotation_names_both_keys_and_what_to_restart(settings: Settings) -> None:
    """The sentences name both keys and what to restart, and show no secret."""
    (first,) = load_mac_keys(settings.mac_key_file)
    done = run(settings, "keys", "rotate-mac")
    new, kept = load_mac_keys(settings.mac_key_file)
    assert (done.exit_code, kept) == (0, first)
    assert {new.key_id, first.key_id} <= set(done.stdout.replace(".", " ").split())
    assert "Restart the workers" in done.stdout
    assert new.secret.hex() not in done.output
    help_ = run(settings, "keys", "rotate-mac", "--help")
    assert "--json" in help_.stdout
    assert "rotate-mac" in run(settings, "keys", "--help").stdout


def test_there_is_nothing_to_change(tmp_path: Path) -> None:
    """Without a key the sentence says how to make one, and no file is made."""
    done = CliRunner().invoke(
        main, ["keys", "rotate-mac"], env={"AUDITSPAN_DATA_DIR": str(tmp_path)}
    )
    assert (done.exit_code, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert "auditspan keys init" in done.stderr


@pytest.mark.parametrize(
    ("place", "is_changed"),
    [
        ("os.fsync", False),
        ("pathlib.Path.replace", False),
        ("auditspan.storage.files.durable.sync_directory", True),
    ],
    ids=["while it is written", "before it is there", "after it is there"],
)
def test_stopped_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, *, is_changed: bool
) -> None:
    """Ctrl-C leaves the file as it was or as it is to be, and nothing beside it."""
    path = tmp_path / "mac.key"
    first = load_or_create_mac_key(path, create=True)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(place, interrupt)
        rotate_mac_key(path)
    keys = load_mac_keys(path)
    assert (len(keys), keys[-1]) == (2 if is_changed else 1, first)
    assert [file.name for file in tmp_path.iterdir()] == ["mac.key"]
    assert len(rotate_mac_key(path)) == len(keys) + 1


def test_changed_by_several_at_once(tmp_path: Path) -> None:
    """Nobody's key is lost: a service may have started with it meanwhile."""
    path = tmp_path / "mac.key"
    load_or_create_mac_key(path, create=True)
    with ThreadPoolExecutor(8) as pool:
        made = [keys[0] for keys in pool.map(lambda _: rotate_mac_key(path), range(16))]
    keys = load_mac_keys(path)
    assert (len(keys), set(made) - set(keys)) == (17, set())


@pytest.mark.parametrize("mode", [0o600, 0o444], ids=oct)
@pytest.mark.parametrize("kind", ["mac", "signing"])
def test_the_file_stays_its_owners(tmp_path: Path, kind: str, mode: int) -> None:
    """Whoever changes the key, those who could read it can afterwards, and nobody else.

    Only root can give a file to somebody else; anybody else has it already.
    """
    path = tmp_path / f"{kind}.key"
    make, rotate = {
        "mac": (load_or_create_mac_key, rotate_mac_key),
        "signing": (load_or_create_signing_keys, rotate_signing_key),
    }[kind]
    make(path, create=True)
    owner = 10001 if os.geteuid() == 0 else os.geteuid()
    os.chown(path, owner, os.getegid())
    path.chmod(mode)
    rotate(path)
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (owner, mode)
