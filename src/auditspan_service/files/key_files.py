"""The files of the MAC key and of the signing key: one key a line, the newest first.

Whoever has the MAC key can write bodies that look genuine, and without it none can be checked;
whoever has the signing key can sign another history. So no key in them is ever lost or half
written, and both are made readable by their owner alone.

The first MAC key is the one that rows are written under, the others are for checking; the signing
keys all sign. A signing key that signs no more leaves its public key behind, in a line that begins
with `retired`, so that what it signed can be verified.
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

from auditspan import AuditConfigError, MacKey
from auditspan.format import SECRET_BYTES
from auditspan.tlog import KEY_PREFIX, NoteError, PublicKey, SigningKey
from auditspan_service.errors import KeyFileError
from auditspan_service.files.private_files import make_private_directory

Key = TypeVar("Key")

_RETIRED = "retired "
"""How the line of a public key begins whose secret signs no more."""


def load_or_create_mac_key(path: Path, *, create: bool) -> MacKey:
    """The first key in this file; where there is none and `create` says so, a new one.

    Processes that create it at the same moment get the same key.

    Raises:
        KeyFileError: there is no key, or it cannot be read or written.
    """
    if create:
        _create(path, lambda: _new_mac_key().dump())
    return load_mac_keys(path)[0]


def load_mac_keys(path: Path) -> tuple[MacKey, ...]:
    """Every key in this file.

    Raises:
        KeyFileError: there is no key, or they cannot be read.
    """
    try:
        return _read(path, "MAC", MacKey.parse)
    except FileNotFoundError as error:
        raise KeyFileError(
            f"There is no MAC key in {path}: make one with `auditspan keys init`, give the same "
            "file to every process that writes to this database, and name it in "
            "AUDITSPAN_MAC_KEY_FILE."
        ) from error
    except AuditConfigError as error:
        raise KeyFileError(f"{path}: {error.message}.") from error


def load_or_create_signing_keys(path: Path, *, create: bool) -> tuple[SigningKey, ...]:
    """The Ed25519 keys in this file; where there is none and `create` says so, a new one.

    Raises:
        KeyFileError: there is no key, or they cannot be read or written.
    """
    if create:
        _create(path, lambda: f"{_new_signing_key().dump()}\n")
    try:
        keys = _read(path, "signing", SigningKey.parse, besides=_RETIRED)
    except FileNotFoundError as error:
        raise KeyFileError(
            f"There is no signing key in {path}: make one with `auditspan checkpoint --init`, give "
            "it to the workers of this database and to nobody else, and name it in "
            "AUDITSPAN_SIGNING_KEY_FILE."
        ) from error
    except NoteError as error:
        raise KeyFileError(f"{path}: {error}.") from error
    if len({key.name for key in keys}) > 1:
        raise KeyFileError(f"{path}: the keys of one trail have one name, which is the log's.")
    return keys


def load_retired_keys(path: Path) -> tuple[PublicKey, ...]:
    """The public keys of retired signers; empty without a key file.

    Raises:
        KeyFileError: they cannot be read.
    """
    try:
        lines = [line for line in _lines(path, "signing") if line.startswith(_RETIRED)]
        return tuple(PublicKey.parse(line.removeprefix(_RETIRED)) for line in lines)
    except FileNotFoundError:
        return ()
    except NoteError as error:
        raise KeyFileError(f"{path}: {error}.") from error


def last_signed_file(path: Path) -> Path:
    """Where it is remembered, beside the signing key, what was signed last."""
    return path.with_name(f"{path.name}.last")


def rotate_signing_key(path: Path) -> tuple[SigningKey, ...]:
    """Put a new key before the newest one; whatever was before that one signs no more.

    Its public key stays in the file, for those who verify.

    Raises:
        KeyFileError: there is no key yet, or the file cannot be read or written.
    """
    load_or_create_signing_keys(path, create=False)  # its error says how to make one
    with _turn(path):
        newest, *older = load_or_create_signing_keys(path, create=False)
        retired = (*(key.public for key in older), *load_retired_keys(path))
        keys = (SigningKey(name=newest.name, seed=secrets.token_bytes(32)), newest)
        lines = (*(key.dump() for key in keys), *(_RETIRED + key.vkey for key in retired))
        _replace(path, "".join(f"{line}\n" for line in lines))
    return keys


def rotate_mac_key(path: Path) -> tuple[MacKey, ...]:
    """Put a new key before all others, which stay for checking.

    Raises:
        KeyFileError: there is no key yet, or the file cannot be read or written.
    """
    load_mac_keys(path)  # its error says how to make one
    with _turn(path):
        keys = (_new_mac_key(), *load_mac_keys(path))
        _replace(path, "".join(key.dump() for key in keys))
    return keys


def _new_mac_key() -> MacKey:
    return MacKey.from_secret(secrets.token_bytes(SECRET_BYTES))


def _new_signing_key() -> SigningKey:
    # The name is the log's, and two logs must not have the same.
    return SigningKey(name=KEY_PREFIX + secrets.token_hex(4), seed=secrets.token_bytes(32))


def _read(
    path: Path, kind: str, parse: Callable[[str], Key], *, besides: str | None = None
) -> tuple[Key, ...]:
    """The keys in the lines of a file, without lines that begin with `besides`."""
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
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise KeyFileError(f"The {kind} key file {path} cannot be used: {reason}.") from error
    return text.splitlines()


def _create(path: Path, make: Callable[[], str]) -> None:
    """Make the file unless it is there."""
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
        raise KeyFileError(f"The key file {path} cannot be made: {error.strerror}.") from error


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """One at a time: of two who change the file at once, neither loses the other's key."""
    try:
        directory = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be written: {error.strerror}.") from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # the file itself will be another one afterwards
        yield
    finally:
        os.close(directory)


def _replace(path: Path, text: str) -> None:
    """Put a finished file in the place of another, at once; for the same people.

    Whoever is stopped in the middle has changed nothing.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            _write(draft, text)
            before = path.stat()
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(draft, before.st_uid, before.st_gid)  # root does it for the service
            draft.chmod(stat.S_IMODE(before.st_mode))  # a secret of a container is read by others
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
    """Give the finished file its name, unless another process was first."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
    _sync_directory(path)


def _sync_directory(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the name as well: audit rows will refer to this key
    finally:
        os.close(directory)
