"""The file sink writes to the file at its path, also after that was moved, removed or replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditspan.delivery.log_record import ExportRecord, checkpoint_record
from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.errors import SinkUnavailableError
from auditspan.format import SignedCheckpoint
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.files import read_logs
from auditspan.tlog import SigningKey, Tree, sign_checkpoint

KEY = SigningKey(name="shop", seed=bytes(32))
ROTATED = "audit.jsonl-20260101"


def batch(size: int) -> list[ExportRecord]:
    """One record: the checkpoint of a tree of this size."""
    tree = Tree().append([bytes([number]) * 32 for number in range(size)])
    note = sign_checkpoint(KEY, tree, 0)
    point = SignedCheckpoint(
        size=size, root=tree.root, note=note, created_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    return [checkpoint_record(point)]


def sizes(path: Path) -> list[object]:
    """The tree sizes of the checkpoints in a file, or in the files of a directory in order."""
    return [entry.attributes[semconv.TREE_SIZE] for entry in read_logs(path)]


def rotate(file: Path) -> None:
    """Rename the file, as logrotate does."""
    file.rename(file.with_name(ROTATED))


def replace(file: Path) -> None:
    """Rename the file and create an empty one, as logrotate does with `create`."""
    rotate(file)
    file.touch()


def remove_directory(file: Path) -> None:
    """Remove the file with its directory."""
    shutil.rmtree(file.parent)


@pytest.mark.parametrize("change", [Path.unlink, rotate, replace, remove_directory])
def test_batch_after_a_change_of_the_file_is_at_the_path(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """A record acknowledged after the change is in the file that readers of the path open."""
    sink = FileSink(tmp_path)
    sink.send(batch(1))
    change(tmp_path / AUDIT_FILE)
    sink.send(batch(2))
    sink.send(batch(3))
    sink.close()
    assert [2, 3] == sizes(tmp_path / AUDIT_FILE)


def test_rotated_file_keeps_its_records(tmp_path: Path) -> None:
    """The rotated file ends with the last batch before the rotation; readers find every batch."""
    sink = FileSink(tmp_path)
    sink.send(batch(1))
    rotate(tmp_path / AUDIT_FILE)
    sink.send(batch(2))
    sink.close()
    assert [1, 2] == sizes(tmp_path)


@pytest.mark.parametrize("change", [Path.unlink, rotate, replace, remove_directory])
def test_change_during_a_write_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """A batch written to a file that is gone by then is refused, and is sent again."""
    sink = FileSink(tmp_path)
    sink.send(batch(1))
    fsync = os.fsync

    def changed_meanwhile(descriptor: int) -> None:
        fsync(descriptor)
        monkeypatch.setattr(os, "fsync", fsync)
        change(tmp_path / AUDIT_FILE)

    monkeypatch.setattr(os, "fsync", changed_meanwhile)
    with pytest.raises(SinkUnavailableError, match="moved or removed"):
        sink.send(batch(2))
    sink.send(batch(2))
    sink.close()
    assert [2] == sizes(tmp_path / AUDIT_FILE)
