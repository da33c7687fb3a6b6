"""The service's worker remembers beside its key what it has signed."""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from auditspan.seal.last_signed import LastSignedFile
from auditspan.storage.keys import last_signed_file, load_or_create_signing_keys
from auditspan.tlog.checkpoint import sign_checkpoint
from auditspan.tlog.merkle import Tree
from auditspan.tlog.note import SigningKey
from auditspan_service.worker import running_worker
from integration.trust.world import ours
from support.patience import PATIENCE
from support.service import RunningService, running_service, settings_at


def newest(service: RunningService) -> str | None:
    """The note of the newest checkpoint."""
    point = service.services.trail.tables.checkpoint.c
    with service.services.database.reading() as session:
        return session.scalar(select(point.note).order_by(point.tree_size.desc()).limit(1))


def test_the_worker_remembers_its_newest_note(tmp_path: Path, database_url: str) -> None:
    """The file has the note of the newest checkpoint, whole, and lies where the key lies."""
    settings = settings_at(tmp_path / "data", database_url, sink="file")
    load_or_create_signing_keys(settings.signing_key_file, create=True)
    file = last_signed_file(settings.signing_key_file)
    with running_service(settings) as service, running_worker(settings):
        for username in ("kim", "lee"):
            service.issue("admin", username=username)
            deadline = time.monotonic() + PATIENCE
            while not (file.exists() and file.read_text() == newest(service)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
    assert ["erasure.key", "mac.key", "signing.key", "signing.key.last"] == sorted(
        one.name for one in file.parent.iterdir()
    )


KEY = SigningKey(name="auditspan/test", seed=bytes(range(32)))


def note(size: int, incarnation: int = 1) -> str:
    """A signed checkpoint of this size."""
    tree = Tree().append(bytes([n % 256]) * 32 for n in range(size))
    return sign_checkpoint(KEY, tree, incarnation)


def known(file: LastSignedFile) -> str:
    """The origin and size that are last."""
    last = file.last()
    assert last is not None
    return f"{last.origin} {last.size}"


def test_a_file_that_cannot_be_written_takes_nothing_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It can still be read, and is behind: what this process has signed counts.

    That is said once, and writing is tried again.
    """
    path = tmp_path / "keys" / "last"
    path.parent.mkdir()
    file = LastSignedFile(path, log=KEY.name)
    file.remember(note(10))
    path.parent.rename(tmp_path / "away")  # stands for a disk that is full, or mounted for reading
    for size in (20, 30):
        file.remember(note(size))
    (tmp_path / "away").rename(path.parent)
    assert (note(10), "auditspan/test/1 30") == (path.read_text(), known(file))
    assert 1 == len(ours(caplog))
    file.remember(note(40))
    assert note(40) == path.read_text()


def test_many_may_write_the_file_at_once(tmp_path: Path) -> None:
    """Whoever reads it meanwhile finds a whole note, and nothing is left beside it."""
    path = tmp_path / "last"
    notes = [note(size) for size in (10, 200, 3000)]
    LastSignedFile(path, log=KEY.name).remember(notes[0])

    def write(text: str) -> set[str]:
        file = LastSignedFile(path, log=KEY.name)
        seen = set()
        for _ in range(20):
            file.remember(text)
            seen.add(path.read_text())
        return seen

    with ThreadPoolExecutor() as pool:
        seen = set().union(*pool.map(write, notes))
    assert set(notes) >= seen
    assert [path] == list(tmp_path.iterdir())


def test_a_note_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the draft, then the name, then the folder: a crash leaves the old note or the new."""
    path = tmp_path / "last"
    done: list[str] = []

    def sync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append(f"{'folder' if is_folder else 'file'} {path.exists()}")

    monkeypatch.setattr(os, "fsync", sync)
    LastSignedFile(path, log=KEY.name).remember(note(10))
    assert ["file False", "folder True"] == done


@pytest.mark.parametrize(
    ("mine", "theirs", "last"),
    [
        ((10, 1), (20, 1), "auditspan/test/1 20"),
        ((20, 1), (10, 1), "auditspan/test/1 20"),
        ((20, 1), (10, 2), "auditspan/test/2 10"),
        ((10, 2), (20, 1), "auditspan/test/2 10"),
    ],
)
def test_the_newer_of_two_notes_counts(
    tmp_path: Path, mine: tuple[int, int], theirs: tuple[int, int], last: str
) -> None:
    """Whether another process has put it into the file, or this one remembers it."""
    file, other = (LastSignedFile(tmp_path / "last", log=KEY.name) for _ in range(2))
    file.remember(note(*mine))
    other.remember(note(*theirs))
    assert last == known(file)


@pytest.mark.parametrize(
    ("code", "level"), [(errno.EROFS, logging.INFO), (errno.ENOSPC, logging.WARNING)]
)
def test_read_only_mount_is_not_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
    level: int,
) -> None:
    """A key that is mounted read-only, as compose.yaml does it, is a normal state."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    caplog.set_level(logging.INFO)
    LastSignedFile(tmp_path / "last", log=KEY.name).remember(note(10))
    assert [level] == [one.levelno for one in ours(caplog)]
