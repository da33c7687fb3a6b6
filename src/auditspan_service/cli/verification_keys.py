"""Keys for `auditspan verify`, and the checks that are skipped without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from auditspan import MacKey
from auditspan.tlog import NoteError, PublicKey
from auditspan_service.cli.console import Failure, say
from auditspan_service.config import Settings
from auditspan_service.errors import KeyFileError
from auditspan_service.files.key_files import (
    load_mac_keys,
    load_or_create_signing_keys,
    load_retired_keys,
)

Key = TypeVar("Key")

_NOT_OURS = (FileNotFoundError, PermissionError)
"""A verifier need not have the secret keys of the writers."""


@dataclass(frozen=True, kw_only=True)
class KnownKeys:
    """Keys that are available for checking.

    Attributes:
        macs: the MAC keys, the newest first.
        public: the public keys that checkpoints may be signed by.
    """

    macs: tuple[MacKey, ...]
    public: tuple[PublicKey, ...]

    @property
    def unchecked(self) -> list[str]:
        """The checks that are skipped for lack of a key: `mac`, `signature`."""
        keys = {"mac": self.macs, "signature": self.public}
        return [name for name, known in keys.items() if not known]


def known_keys(settings: Settings, given: Sequence[str]) -> KnownKeys:
    """Load the given public keys, or those of the settings' files, and print a note if one lacks.

    Raises:
        KeyFileError: a key file exists but is damaged.
        Failure: a given public key is invalid.
    """
    return KnownKeys(macs=_mac_keys(settings), public=_public_keys(settings, given))


def _mac_keys(settings: Settings) -> tuple[MacKey, ...]:
    path = settings.mac_key_file
    lack = f"No MAC key could be read from {path} (AUDITSPAN_MAC_KEY_FILE): MACs are not checked."
    return _unless_lacking(lambda: load_mac_keys(path), lack)


def _public_keys(settings: Settings, given: Sequence[str]) -> tuple[PublicKey, ...]:
    try:
        if given:
            return tuple(PublicKey.parse(text) for text in given)
    except NoteError as error:
        raise Failure(f"--public-key: {error}.") from error
    path = settings.signing_key_file
    lack = (
        f"No signing key could be read from {path} (AUDITSPAN_SIGNING_KEY_FILE), and no "
        "--public-key was given: signatures are not checked."
    )
    keys = _unless_lacking(lambda: load_or_create_signing_keys(path, create=False), lack)
    return (*(key.public for key in keys), *(load_retired_keys(path) if keys else ()))


def _unless_lacking(load: Callable[[], tuple[Key, ...]], lack: str) -> tuple[Key, ...]:
    try:
        return load()
    except KeyFileError as error:
        if not isinstance(error.__cause__, _NOT_OURS):
            raise
        say(lack, err=True)
        return ()
