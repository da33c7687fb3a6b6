"""Files of the MAC keys and the signing keys, and private files in general."""

from __future__ import annotations

from auditspan.keys.key_files import (
    last_signed_file,
    load_mac_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
    load_retired_keys,
    rotate_mac_key,
    rotate_signing_key,
    stored_mac_key,
)
from auditspan.keys.private_files import (
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
    "last_signed_file",
    "load_mac_keys",
    "load_or_create_mac_key",
    "load_or_create_signing_keys",
    "load_retired_keys",
    "make_private_directory",
    "make_private_file",
    "rotate_mac_key",
    "rotate_signing_key",
    "stored_mac_key",
]
