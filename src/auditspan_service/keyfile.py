"""The file of the MAC key.

Whoever has the key can write bodies that look genuine, and without it none can be checked. So it is
never overwritten, never half written, and readable by its owner alone.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from auditspan import AuditConfigError, MacKey
from auditspan.mac import SECRET_BYTES
from auditspan_service.errors import KeyFileError


def load_or_create_mac_key(path: Path, *, create: bool) -> MacKey:
    """The key in this file; where there is none and `create` says so, a new one.

    Processes that create it at the same moment get the same key.

    Raises:
        KeyFileError: there is no key, or it cannot be read or written.
    """
    try:
        if create and not path.exists():
            _create(path)
        return MacKey.parse(path.read_text(encoding="ascii"))
    except FileNotFoundError as error:
        raise KeyFileError(
            f"There is no MAC key in {path}: make one with `auditspan keys init`, give the same "
            "file to every process that writes to this database, and name it in "
            "AUDITSPAN_MAC_KEY_FILE."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise KeyFileError(f"The MAC key file {path} cannot be used: {reason}.") from error
    except AuditConfigError as error:
        raise KeyFileError(f"{path}: {error.message}.") from error


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    key = MacKey.from_secret(secrets.token_bytes(SECRET_BYTES))
    try:
        _write(draft, key.dump())
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 (a descriptor, no path)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, path: Path) -> None:
    """Give the finished file its name, unless another process was first."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the name as well: audit rows will refer to this key
    finally:
        os.close(directory)
