"""Files and directories that only their owner may use, whatever the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
UMASK = 0o077


def make_private_directory(path: Path) -> None:
    """Create `path` and its missing parents; leave what exists."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing or [path]):
        one.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def make_private_file(path: Path) -> None:
    """Create an empty file and its missing directories; leave a file that exists."""
    make_private_directory(path.parent)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))
    except FileExistsError:
        return


def close_to_others(path: Path, mode: int) -> str | None:
    """Remove the access that goes beyond `mode`; a sentence when there was any."""
    try:
        before = path.stat().st_mode
        if not stat.S_IMODE(before) & 0o777 & ~mode:
            return None
        if _is_shared(path, before):
            return (
                f"WARNING: {path} is a directory for everybody (mode {stat.S_IMODE(before):04o}) "
                "and was left so. Choose a data directory that is used by auditspan alone."
            )
        path.chmod(mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"WARNING: {path} is open to others, and its mode cannot be set: {error.strerror}."
    return f"{path} was open to others: its mode is now {mode:04o} instead of {_octal(before)}."


def _is_shared(path: Path, mode: int) -> bool:
    """Return whether other programs need this directory, as they do `/tmp` and `/`."""
    return stat.S_ISDIR(mode) and (bool(mode & stat.S_ISVTX) or path.resolve() == Path("/"))


def _octal(mode: int) -> str:
    return f"{stat.S_IMODE(mode):04o}"
