"""Files that are complete and on disk before they get their name."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from auditspan.storage.files.private import FILE_MODE

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP})
"""Errors of file systems that cannot fsync a directory, such as some network file systems."""

Publish = Callable[[Path, Path], object]
"""Gives a complete draft its name."""


def _replace(draft: Path, path: Path) -> None:
    draft.replace(path)


def unless_present(draft: Path, path: Path) -> None:
    """Give the draft its name, unless another process was first."""
    with suppress(FileExistsError):
        path.hardlink_to(draft)


@contextmanager
def durable_file(path: Path, publish: Publish = _replace) -> Iterator[IO[str]]:
    """Open a draft beside `path`, and publish it after the block, complete and on disk.

    By default it replaces an earlier file. An exception or a crash before that changes nothing;
    after the block, a crash loses neither the text nor the name. Only the owner can read the file,
    unless the block changes its mode.

    Raises:
        OSError: the file cannot be written; nothing has changed.
    """
    # No two processes or threads ever write the same draft.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)  # a crash could otherwise leave an empty file under the name
        publish(draft, path)
        sync_directory(path.parent)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Fsync a directory, so that a crash does not lose the names of new files in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)
