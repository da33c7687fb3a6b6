"""The files of the keys hold several, and lose none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from auditspan.errors import KeyFileError
from auditspan.storage.keys import (
    load_mac_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
    load_retired_keys,
    rotate_mac_key,
    rotate_signing_key,
)
from auditspan.tlog.note import SigningKey
from auditspan_service.cli import main


def test_new_signing_key_precedes_the_last(tmp_path: Path) -> None:
    """Under the same name; the one before that signs no more. The file is its owner's alone."""
    path = tmp_path / "signing.key"
    (first,) = load_or_create_signing_keys(path, create=True)
    second, kept = rotate_signing_key(path)
    third, last = rotate_signing_key(path)
    assert (first, second) == (kept, last)
    assert {first.name} == {second.name, third.name}
    assert 3 == len({first.seed, second.seed, third.seed})
    assert (third, second) == load_or_create_signing_keys(path, create=True)
    assert (0o600, ["signing.key"]) == (
        path.stat().st_mode & 0o777,
        [one.name for one in tmp_path.iterdir()],
    )


def test_retired_public_keys_stay_in_the_file(tmp_path: Path) -> None:
    """However often the key is rotated, the newest first, and no secret with them."""
    path = tmp_path / "signing.key"
    (first,) = load_or_create_signing_keys(path, create=True)
    assert () == load_retired_keys(path)
    second = rotate_signing_key(path)[0]
    assert () == load_retired_keys(path)
    rotate_signing_key(path)
    assert (first.public,) == load_retired_keys(path)
    fourth, third = rotate_signing_key(path)
    assert (second.public, first.public) == load_retired_keys(path)
    assert (fourth, third) == load_or_create_signing_keys(path, create=False)
    assert 2 == path.read_text().count("PRIVATE")


def test_new_mac_key_precedes_all_others(tmp_path: Path) -> None:
    """Rows are written under the first, and the others stay for checking."""
    path = tmp_path / "mac.key"
    first = load_or_create_mac_key(path, create=True)
    second, *_ = rotate_mac_key(path)
    keys = rotate_mac_key(path)
    assert (keys[0], second, first) == keys == load_mac_keys(path)
    assert keys[0] == load_or_create_mac_key(path, create=True)
    assert 0o600 == path.stat().st_mode & 0o777


def test_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    """Without a key the error says how to make one, and no file is made."""
    for rotate in (rotate_signing_key, rotate_mac_key):
        with pytest.raises(KeyFileError, match="create it with"):
            rotate(tmp_path / "a.key")
    assert [] == list(tmp_path.iterdir())


def test_keys_of_two_logs_are_refused(tmp_path: Path) -> None:
    """One of them would sign for a log that it is not of."""
    keys = [SigningKey(name=name, seed=bytes(32)) for name in ("auditspan/a", "auditspan/b")]
    path = tmp_path / "signing.key"
    path.write_text("".join(f"{key.dump()}\n" for key in keys))
    with pytest.raises(KeyFileError, match="a trail has only one"):
        load_or_create_signing_keys(path, create=False)


def test_the_command_changes_the_key(tmp_path: Path) -> None:
    """It prints the public keys, the new one first, and no secret."""
    environ = {"AUDITSPAN_DATA_DIR": str(tmp_path)}

    def run(*arguments: str) -> list[str]:
        done = CliRunner().invoke(main, ["checkpoint", *arguments], env=environ)
        assert 0 == done.exit_code
        assert "PRIVATE" not in done.output
        return done.stdout.splitlines()

    (first,) = run("--init")
    rotated = run("--rotate")
    assert (2, first) == (len(rotated), rotated[1])
    assert rotated == run("--public-key") == run("--init")
