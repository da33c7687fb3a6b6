"""Keys for `auditspan verify`, and the checks that are skipped without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from auditspan.cli.commands.console import Failure, say
from auditspan.cli.commands.target import Target
from auditspan.errors import KeyFileError
from auditspan.format import MacKey
from auditspan.storage.keys import load_mac_keys, load_or_create_signing_keys, load_retired_keys
from auditspan.tlog import NoteError, PublicKey
from auditspan.trail.settings import TrailSettings

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


def known_keys(target: Target, given: Sequence[str]) -> KnownKeys:
    """Load the given public keys, or those of the target's files, and print a note if one lacks.

    Raises:
        KeyFileError: a key file exists but is damaged.
        Failure: a given public key is invalid.
    """
    return KnownKeys(macs=_mac_keys(target), public=_public_keys(target.settings, given))


def _mac_keys(target: Target) -> tuple[MacKey, ...]:
    path = target.settings.mac_key_file
    if not path.exists() and (own := target.mac_keys()):
        return tuple(own)
    lack = f"No MAC key could be read from {path} (AUDITSPAN_MAC_KEY_FILE): MACs are not checked."
    if path.exists():
        return tuple(target.mac_keys())
    return _unless_lacking(lambda: load_mac_keys(path), lack)


def _public_keys(settings: TrailSettings, given: Sequence[str]) -> tuple[PublicKey, ...]:
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
