"""An exclusive lock that the kernel releases when its holder ends, even by a crash."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def acquire(
    path: Path, *, seconds: float, poll: float, waiting: Callable[[], None] = lambda: None
) -> int:
    """Lock `path` and return the file descriptor that holds the lock.

    The lock is held until every copy of the descriptor is closed: a child process that inherits it
    holds the lock until the child ends. Tries every `poll` seconds, and calls `waiting` before each
    retry; raises TimeoutError after `seconds`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + seconds
    try:
        while not _try(descriptor):
            if time.monotonic() >= deadline:
                _give_up(path)
            waiting()
            time.sleep(poll)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def held(path: Path, *, seconds: float, poll: float, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock during the block."""
    descriptor = acquire(path, seconds=seconds, poll=poll, waiting=waiting)
    try:
        write_holder(descriptor, os.getpid())
        yield
    finally:
        os.close(descriptor)


def write_holder(descriptor: int, pid: int) -> None:
    """Write the holder's process id, for the error message of other processes."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{pid}\n".encode(), 0)


def read_holder(path: Path) -> str:
    """Return the holder's process id, or `unknown`."""
    return path.read_text(encoding="ascii").strip() or "unknown"


def _give_up(path: Path) -> NoReturn:
    raise TimeoutError(f"{path} is locked by process {read_holder(path)}")


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
