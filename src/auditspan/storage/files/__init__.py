"""Files that survive a crash, and files that only their owner can access."""

from __future__ import annotations

from auditspan.storage.files.durable import durable_file, sync_directory, unless_present
from auditspan.storage.files.private import (
    DIRECTORY_MODE,
    FILE_MODE,
    UMASK,
    close_to_others,
    make_private_directory,
    make_private_file,
)

__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "UMASK",
    "close_to_others",
    "durable_file",
    "make_private_directory",
    "make_private_file",
    "sync_directory",
    "unless_present",
]
