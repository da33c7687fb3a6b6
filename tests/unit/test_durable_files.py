"""A durable file is there as a whole, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.storage.files import durable_file, unless_present


def test_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    """Within the block the earlier text is there, after it the new one, and nothing beside it."""
    path = tmp_path / "note"
    path.write_text("earlier")
    with durable_file(path) as stream:
        stream.write("later")
        assert "earlier" == path.read_text()

    assert ("later", [path]) == (path.read_text(), [*tmp_path.iterdir()])
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_exception_in_the_block_changes_nothing(tmp_path: Path) -> None:
    """Neither a part of the text nor the draft stays."""

    def interrupted(path: Path) -> None:
        with durable_file(path) as stream:
            stream.write("half")
            raise KeyboardInterrupt

    path = tmp_path / "note"
    path.write_text("earlier")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)

    assert ("earlier", [path]) == (path.read_text(), [*tmp_path.iterdir()])


def test_first_of_two_writers_wins_where_it_is_asked(tmp_path: Path) -> None:
    """`unless_present` leaves a file that another process has made meanwhile."""
    path = tmp_path / "key"
    with durable_file(path, unless_present) as late:
        late.write("second")
        with durable_file(path, unless_present) as early:
            early.write("first")

    assert ("first", [path]) == (path.read_text(), [*tmp_path.iterdir()])


def test_new_audit_file_is_fsynced_with_its_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file sink acknowledges a batch only when a crash loses neither the line nor the file."""
    synced = set()
    sync = os.fsync

    def observed(descriptor: int) -> None:
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", observed)
    sink = FileSink(tmp_path)
    sink.send([])
    sink.close()
    file = tmp_path / AUDIT_FILE
    assert {one.stat().st_ino for one in (file, *file.parents[:2])} == synced
