"""File of the erasure keys, the newest first: subjects get keys under the first.

Without an old key, the values that were stored under it cannot be read any more.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from auditspan.errors import AuditConfigError, KeyFileError
from auditspan.format import SECRET_BYTES, ErasureKey
from auditspan.storage.keys.key_lines import create_once, read_keys, replace_text, stored_path, turn


def load_or_create_erasure_keys(path: Path, *, create: bool) -> tuple[ErasureKey, ...]:
    """Return every key in this file; with `create`, create the file if it is missing.

    Processes that create it at the same time get the same key.

    Raises:
        KeyFileError: there is no key, or it cannot be read or written.
    """
    if create:
        create_once(path, lambda: _new_erasure_key().dump())
    try:
        return read_keys(path, "erasure", ErasureKey.parse)
    except FileNotFoundError as error:
        raise KeyFileError(
            f"The erasure key file {path} does not exist: create it with `auditspan keys init`, "
            "give the same file to every process that writes to this database, and set "
            "AUDITSPAN_ERASURE_KEY_FILE to its path."
        ) from error
    except AuditConfigError as error:
        raise KeyFileError(f"{path}: {error.message}.") from error


def erasure_keys_at(path: Path) -> tuple[ErasureKey, ...]:
    """Return every key in this file; none if it does not exist.

    Raises:
        KeyFileError: the file cannot be read.
    """
    return load_or_create_erasure_keys(path, create=False) if path.exists() else ()


def stored_erasure_keys() -> tuple[ErasureKey, ...]:
    """Return the keys in the file of AUDITSPAN_ERASURE_KEY_FILE; none if it does not exist.

    By default the file is `keys/erasure.key` in AUDITSPAN_DATA_DIR.

    Raises:
        KeyFileError: the file cannot be read.
    """
    return erasure_keys_at(stored_path("erasure"))


def rotate_erasure_key(path: Path) -> tuple[ErasureKey, ...]:
    """Add a new key before all others, which are kept for reading.

    Raises:
        KeyFileError: the file does not exist, or cannot be read or written.
    """
    load_or_create_erasure_keys(path, create=False)  # its error explains how to create one
    with turn(path):
        keys = (_new_erasure_key(), *load_or_create_erasure_keys(path, create=False))
        replace_text(path, "".join(key.dump() for key in keys))
    return keys


def _new_erasure_key() -> ErasureKey:
    return ErasureKey.from_secret(secrets.token_bytes(SECRET_BYTES))
