"""A small disk that can be filled and freed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path

_CHUNK = 64 * 1024


class Disk:
    """A file system of its own in memory.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (_CHUNK, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError as error:
                    if error.errno != ENOSPC:
                        raise

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Disk]:
    """A tmpfs of this size; whoever is not root mounts it by sudo, and fails where that is not."""
    folder.mkdir()
    by = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    options = f"size={megabytes}m,mode=0700,uid={os.geteuid()}"
    _run(*by, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)
    try:
        yield Disk(folder)
    finally:
        _run(*by, "umount", "--lazy", folder)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"this test needs a disk of its own: {done.stderr}"
