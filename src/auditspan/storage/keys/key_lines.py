"""Files of keys, one per line: written atomically, never lost, readable by their owner only."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from auditspan.errors import KeyFileError
from auditspan.storage.files import durable_file, make_private_directory, unless_present

Key = TypeVar("Key")


def stored_path(kind: str) -> Path:
    """Return the path of a key file, by the environment."""
    data = Path(os.environ.get("AUDITSPAN_DATA_DIR") or ".auditspan").expanduser()
    named = os.environ.get(f"AUDITSPAN_{kind.upper()}_KEY_FILE")
    return Path(named).expanduser() if named else data / "keys" / f"{kind}.key"


def read_keys(
    path: Path, kind: str, parse: Callable[[str], Key], *, besides: str | None = None
) -> tuple[Key, ...]:
    """Return the keys of a file, except lines that begin with `besides`."""
    lines = read_lines(path, kind)
    if besides:
        lines = [line for line in lines if not line.startswith(besides)]
    return tuple(parse(line) for line in lines or [""])


def read_lines(path: Path, kind: str) -> list[str]:
    """Return the lines of a file.

    Raises:
        FileNotFoundError: the file does not exist.
        KeyFileError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise KeyFileError(f"The {kind} key file {path} cannot be used: {reason}.") from error
    return text.splitlines()


def create_once(path: Path, make: Callable[[], str]) -> None:
    """Create the file unless it exists."""
    try:
        if path.exists():
            return
        make_private_directory(path.parent)
        with durable_file(path, unless_present) as stream:
            stream.write(make())
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be created: {error.strerror}.") from error


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Lock the directory, so that concurrent rotations do not lose a key."""
    try:
        directory = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be written: {error.strerror}.") from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # the file itself is replaced
        yield
    finally:
        os.close(directory)


def replace_text(path: Path, text: str) -> None:
    """Replace the file atomically, keeping its owner and mode.

    An interrupted replacement changes nothing.
    """
    try:
        with durable_file(path) as stream:
            stream.write(text)
            before = path.stat()
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), before.st_uid, before.st_gid)  # when root rotates it
            # A container's secret may be readable by a group.
            os.fchmod(stream.fileno(), stat.S_IMODE(before.st_mode))
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be written: {error.strerror}.") from error
