"""Files of the MAC keys and of the signing keys: one key per line, the newest first.

An attacker with the MAC key can forge bodies, and without it no body can be checked; an attacker
with the signing key can sign a forged history. So keys are written atomically and never lost, and
both files are created readable by their owner only.

Rows are written with the first MAC key; the others are for checking. All signing keys sign. The
public key of a retired signing key stays in the file, in a line that begins with `retired`, so that
its signatures can still be verified.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from auditspan.errors import AuditConfigError, KeyFileError
from auditspan.format import SECRET_BYTES, MacKey
from auditspan.storage.keys.key_lines import (
    create_once,
    read_keys,
    read_lines,
    replace_text,
    stored_path,
    turn,
)
from auditspan.tlog import KEY_PREFIX, NoteError, PublicKey, SigningKey

_RETIRED = "retired "
"""Prefix of a line with the public key of a retired signing key."""


def load_or_create_mac_key(path: Path, *, create: bool) -> MacKey:
    """Return the first key in this file; with `create`, create the file if it is missing.

    Processes that create it at the same time get the same key.

    Raises:
        KeyFileError: there is no key, or it cannot be read or written.
    """
    if create:
        create_once(path, lambda: _new_mac_key().dump())
    return load_mac_keys(path)[0]


def load_mac_keys(path: Path) -> tuple[MacKey, ...]:
    """Return every key in this file.

    Raises:
        KeyFileError: there is no key, or the file cannot be read.
    """
    try:
        return read_keys(path, "MAC", MacKey.parse)
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
    path = stored_path("mac")
    return load_mac_keys(path)[0] if path.exists() else None


def load_or_create_signing_keys(path: Path, *, create: bool) -> tuple[SigningKey, ...]:
    """Return the Ed25519 keys in this file; with `create`, create the file if it is missing.

    Raises:
        KeyFileError: there is no key, or the file cannot be read or written.
    """
    if create:
        create_once(path, lambda: f"{_new_signing_key().dump()}\n")
    try:
        keys = read_keys(path, "signing", SigningKey.parse, besides=_RETIRED)
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
        lines = [line for line in read_lines(path, "signing") if line.startswith(_RETIRED)]
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
        KeyFileError: the file does not exist, or cannot be read or written.
    """
    load_or_create_signing_keys(path, create=False)  # its error explains how to create one
    with turn(path):
        newest, *older = load_or_create_signing_keys(path, create=False)
        retired = (*(key.public for key in older), *load_retired_keys(path))
        keys = (SigningKey(name=newest.name, seed=secrets.token_bytes(32)), newest)
        lines = (*(key.dump() for key in keys), *(_RETIRED + key.vkey for key in retired))
        replace_text(path, "".join(f"{line}\n" for line in lines))
    return keys


def rotate_mac_key(path: Path) -> tuple[MacKey, ...]:
    """Add a new key before all others, which are kept for checking.

    Raises:
        KeyFileError: the file does not exist, or cannot be read or written.
    """
    load_mac_keys(path)  # its error explains how to create one
    with turn(path):
        keys = (_new_mac_key(), *load_mac_keys(path))
        replace_text(path, "".join(key.dump() for key in keys))
    return keys


def _new_mac_key() -> MacKey:
    return MacKey.from_secret(secrets.token_bytes(SECRET_BYTES))


def _new_signing_key() -> SigningKey:
    # The name is that of the log, and must be unique.
    return SigningKey(name=KEY_PREFIX + secrets.token_hex(4), seed=secrets.token_bytes(32))
