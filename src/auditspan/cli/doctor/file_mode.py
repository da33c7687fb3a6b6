"""The mode of files that hold secrets."""

from __future__ import annotations

import stat
from pathlib import Path

_MOUNTED_SECRETS = Path("/run/secrets")
"""The secrets of a container; their modes come from another machine and are not checked."""


def is_open(path: Path) -> bool:
    """Return whether other users may read or change a file; mounted secrets do not count."""
    others = path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP)
    return bool(others) and not path.is_relative_to(_MOUNTED_SECRETS)
