"""Files of the MAC keys and of the signing keys: one key per line, the newest first.

An attacker with the MAC key can forge bodies, and without it no body can be checked; an attacker
with the signing key can sign a forged history. So keys are written atomically and never lost, and
both files are created readable by their owner only.

Rows are written with the first MAC key; the others are for checking. All signing keys sign. The
public key of a retired signing key stays in the file, in a line that begins with `retired`, so that
its signatures can still be verified.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from auditspan.errors import AuditConfigError, KeyFileError
from auditspan.files import durable_file, make_private_directory, unless_present
from auditspan.format import SECRET_BYTES, MacKey
from auditspan.tlog import KEY_PREFIX, NoteError, PublicKey, SigningKey

Key = TypeVar("Key")

_RETIRED = "retired "
"""Prefix of a line with the public key of a retired signing key."""


def load_or_create_mac_key(path: Path, *, create: bool) -> MacKey:
    """Return the first key in this file; with `create`, create the file if it is missing.

    Processes that create it at the same time get the same key.

    Raises:
        KeyFileError: there is no key, or it cannot be read or written.
    """
    if create:
        _create(path, lambda: _new_mac_key().dump())
    return load_mac_keys(path)[0]


def load_mac_keys(path: Path) -> tuple[MacKey, ...]:
    """Return every key in this file.

    Raises:
        KeyFileError: there is no key, or the file cannot be read.
    """
    try:
        return _read(path, "MAC", MacKey.parse)
    except FileNotFoundError as error:
        raise KeyFileError(
            f"The MAC key file {path} does not exist: create it with `auditspan keys init`, give "
            "the same file to every process that writes to this database, and set "
            "AUDITSPAN_MAC_KEY_FILE to its path."
        ) from error
    except AuditConfigError as error:
        raise KeyFileError(f"{path}: {error.message}.") from error


def stored_mac_key() -> MacKey | None:
    """Return the first key in the file of AUDITSPAN_MAC_KEY_FILE; None if it does not exist.

    By default the file is `keys/mac.key` in AUDITSPAN_DATA_DIR.

    Raises:
        KeyFileError: the file cannot be read.
    """
    data = Path(os.environ.get("AUDITSPAN_DATA_DIR") or ".auditspan").expanduser()
    named = os.environ.get("AUDITSPAN_MAC_KEY_FILE")
    path = Path(named).expanduser() if named else data / "keys" / "mac.key"
    return load_mac_keys(path)[0] if path.exists() else None


def load_or_create_signing_keys(path: Path, *, create: bool) -> tuple[SigningKey, ...]:
    """Return the Ed25519 keys in this file; with `create`, create the file if it is missing.

    Raises:
        KeyFileError: there is no key, or the file cannot be read or written.
    """
    if create:
        _create(path, lambda: f"{_new_signing_key().dump()}\n")
    try:
        keys = _read(path, "signing", SigningKey.parse, besides=_RETIRED)
    except FileNotFoundError as error:
        raise KeyFileError(
            f"The signing key file {path} does not exist: create it with `auditspan checkpoint "
            "--init`, give it only to the workers of this database, and set "
            "AUDITSPAN_SIGNING_KEY_FILE to its path."
        ) from error
    except NoteError as error:
        raise KeyFileError(f"{path}: {error}.") from error
    if len({key.name for key in keys}) > 1:
        raise KeyFileError(f"{path}: the signing keys have different names; a trail has only one.")
    return keys


def load_retired_keys(path: Path) -> tuple[PublicKey, ...]:
    """Return the public keys of retired signing keys; empty without a key file.

    Raises:
        KeyFileError: the file cannot be read.
    """
    try:
        lines = [line for line in _lines(path, "signing") if line.startswith(_RETIRED)]
        return tuple(PublicKey.parse(line.removeprefix(_RETIRED)) for line in lines)
    except FileNotFoundError:
        return ()
    except NoteError as error:
        raise KeyFileError(f"{path}: {error}.") from error


def last_signed_file(path: Path) -> Path:
    """Return the path of the last signed note, beside the signing key."""
    return path.with_name(f"{path.name}.last")


def rotate_signing_key(path: Path) -> tuple[SigningKey, ...]:
    """Add a new key before the newest one, and retire all older keys.

    The public keys of retired keys stay in the file for verification.

    Raises:
        KeyFileError: there is no key yet, or the file cannot be read or written.
    """
    load_or_create_signing_keys(path, create=False)  # its error explains how to create one
    with _turn(path):
        newest, *older = load_or_create_signing_keys(path, create=False)
        retired = (*(key.public for key in older), *load_retired_keys(path))
        keys = (SigningKey(name=newest.name, seed=secrets.token_bytes(32)), newest)
        lines = (*(key.dump() for key in keys), *(_RETIRED + key.vkey for key in retired))
        _replace(path, "".join(f"{line}\n" for line in lines))
    return keys


def rotate_mac_key(path: Path) -> tuple[MacKey, ...]:
    """Add a new key before all others, which are kept for checking.

    Raises:
        KeyFileError: there is no key yet, or the file cannot be read or written.
    """
    load_mac_keys(path)  # its error explains how to create one
    with _turn(path):
        keys = (_new_mac_key(), *load_mac_keys(path))
        _replace(path, "".join(key.dump() for key in keys))
    return keys


def _new_mac_key() -> MacKey:
    return MacKey.from_secret(secrets.token_bytes(SECRET_BYTES))


def _new_signing_key() -> SigningKey:
    # The name is that of the log, and must be unique.
    return SigningKey(name=KEY_PREFIX + secrets.token_hex(4), seed=secrets.token_bytes(32))


def _read(
    path: Path, kind: str, parse: Callable[[str], Key], *, besides: str | None = None
) -> tuple[Key, ...]:
    """Return the keys of a file, except lines that begin with `besides`."""
    lines = _lines(path, kind)
    if besides:
        lines = [line for line in lines if not line.startswith(besides)]
    return tuple(parse(line) for line in lines or [""])


def _lines(path: Path, kind: str) -> list[str]:
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise KeyFileError(f"The {kind} key file {path} cannot be used: {reason}.") from error
    return text.splitlines()


def _create(path: Path, make: Callable[[], str]) -> None:
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
def _turn(path: Path) -> Iterator[None]:
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


def _replace(path: Path, text: str) -> None:
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
