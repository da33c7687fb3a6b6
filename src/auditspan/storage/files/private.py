"""Files and directories that only their owner can access, regardless of the umask."""

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
    """Remove permissions beyond `mode`; return a sentence if there were any."""
    try:
        before = path.stat().st_mode
        if not stat.S_IMODE(before) & 0o777 & ~mode:
            return None
        if _is_shared(path, before):
            return (
                f"WARNING: {path} is a shared directory (mode {stat.S_IMODE(before):04o}), so its "
                "mode was not changed. Choose a data directory that only auditspan uses."
            )
        path.chmod(mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        return (
            f"WARNING: {path} is accessible to other users, and its mode cannot be changed: "
            f"{error.strerror}."
        )
    return (
        f"{path} was accessible to other users: its mode was changed from {_octal(before)} to "
        f"{mode:04o}."
    )


def _is_shared(path: Path, mode: int) -> bool:
    """Return whether other programs use this directory, as they do `/tmp` and `/`."""
    return stat.S_ISDIR(mode) and (bool(mode & stat.S_ISVTX) or path.resolve() == Path("/"))


def _octal(mode: int) -> str:
    return f"{stat.S_IMODE(mode):04o}"
