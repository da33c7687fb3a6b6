"""Files of keys, one per line: written atomically, never lost, readable by their owner only."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from auditspan.errors import KeyFileError
from auditspan.keys.private_files import make_private_directory

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
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            _write(draft, make())
            _publish(draft, path)
        finally:
            draft.unlink(missing_ok=True)
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
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            _write(draft, text)
            before = path.stat()
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(draft, before.st_uid, before.st_gid)  # when root rotates the service's key
            draft.chmod(
                stat.S_IMODE(before.st_mode)
            )  # a container's secret may be readable by a group
            draft.replace(path)
            _sync_directory(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be written: {error.strerror}.") from error


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 (a descriptor, no path)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, path: Path) -> None:
    """Link the complete file to its name, unless another process was first."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
    _sync_directory(path)


def _sync_directory(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # also sync the name: audit rows will refer to this key
    finally:
        os.close(directory)
