"""Signed notes and checkpoints (C2SP signed-note and tlog-checkpoint, Ed25519).

A note consists of a text, an empty line, and one line for each signature:

    <text, ends with a newline>

    — <key name> <base64(key hash, 4 bytes ‖ signature)>

The text of a checkpoint contains the origin, the size and the base64 root, one per line, optionally
followed by extension lines. A key hash is SHA256(name ‖ 0x0A ‖ 0x01 ‖ public key)[:4].
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditspan.tlog.merkle import HASH_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519 = b"\x01"
_KEY_BYTES = 32
_HASH_PREFIX = 4
_MAX_SIGNATURES = 100
_MAX_SIZE = 2**63 - 1
_NAME = re.compile(r"[^\s+]+")
_PUBLIC = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")
_PRIVATE = re.compile(r"PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)")
_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")


class NoteError(ValueError):
    """Invalid note, key, checkpoint or signature."""


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """Key that verifies signatures; its text form (vkey) is `name+hash+base64`."""

    name: str
    raw: bytes

    @classmethod
    def parse(cls, vkey: str) -> PublicKey:
        """Parse a vkey.

        Raises:
            NoteError: the vkey is malformed, or its hash does not match the key.
        """
        name, key_id, raw = _parse_key(_PUBLIC, vkey, "public")
        key = cls(name=name, raw=raw)
        if key.key_id != key_id:
            raise NoteError("invalid public key: its hash does not match")
        return key

    @property
    def key_hash(self) -> bytes:
        """The four bytes that identify the key in a signature."""
        named = self.name.encode() + b"\n" + _ED25519 + self.raw
        return hashlib.sha256(named).digest()[:_HASH_PREFIX]

    @property
    def key_id(self) -> str:
        """The key hash in hexadecimal."""
        return self.key_hash.hex()

    @property
    def vkey(self) -> str:
        """The text form."""
        return f"{self.name}+{self.key_id}+{_base64(_ED25519 + self.raw)}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Check that this key made the signature over the text."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (
            Ed25519PublicKey,
        )

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """Secret key that signs notes; its text form (skey) is `PRIVATE+KEY+name+hash+base64`."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.seed) != _KEY_BYTES:
            raise NoteError(
                "invalid signing key: expected a name without spaces or +, and 32 secret bytes"
            )

    @classmethod
    def parse(cls, skey: str) -> SigningKey:
        """Parse an skey.

        Raises:
            NoteError: the skey is malformed, or its hash does not match; the message does not
                contain any part of it.
        """
        name, key_id, seed = _parse_key(_PRIVATE, skey, "private")
        key = cls(name=name, seed=seed)
        if key.public.key_id != key_id:
            raise NoteError("invalid private key: its hash does not match")
        return key

    @property
    def public(self) -> PublicKey:
        """The public key."""
        return PublicKey(name=self.name, raw=self._private().public_key().public_bytes_raw())

    def dump(self) -> str:
        """Return the text form, which is secret."""
        return f"PRIVATE+KEY+{self.name}+{self.public.key_id}+{_base64(_ED25519 + self.seed)}"

    def sign(self, text: str) -> bytes:
        """Return the signature over a text, 64 bytes."""
        return self._private().sign(text.encode())

    def _private(self) -> Ed25519PrivateKey:
        """Return the key of the library, which only the extra `worker` installs."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (
            Ed25519PrivateKey,
        )

        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, kw_only=True)
class OpenedNote:
    """Note with at least one valid signature.

    Attributes:
        text: the signed text.
        signers: the keys with a valid signature, in the order of the note.
    """

    text: str
    signers: tuple[PublicKey, ...]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Size and root of the log named `origin` at one moment."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Parse the text of a note strictly.

        Raises:
            NoteError: the text is not a checkpoint.
        """
        if not text.endswith("\n"):
            raise NoteError("invalid checkpoint: expected a newline at the end")
        lines = text[:-1].split("\n")
        if len(lines) < 3 or not all(lines) or not _DECIMAL.fullmatch(lines[1]):  # noqa: PLR2004
            raise NoteError(
                "invalid checkpoint: expected an origin, a decimal size and a root, one per line"
            )
        root, size = _unbase64(lines[2]), int(lines[1])
        if len(root) != HASH_BYTES or size > _MAX_SIZE:
            raise NoteError("invalid checkpoint: expected a root of 32 bytes and a 63-bit size")
        return cls(origin=lines[0], size=size, root=root, extensions=tuple(lines[3:]))

    def text(self) -> str:
        """Return the text that is signed."""
        lines = (self.origin, str(self.size), _base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def sign_note(text: str, keys: Sequence[SigningKey]) -> str:
    """Return the text as a note signed with all of these keys.

    Raises:
        NoteError: the text is not valid in a note, or there is no key.
    """
    if not keys or not text.endswith("\n") or _CONTROL.search(text):
        raise NoteError("invalid note: expected text that ends with a newline, and a signing key")
    signatures = [_base64(key.public.key_hash + key.sign(text)) for key in keys]
    lines = [f"— {key.name} {done}\n" for key, done in zip(keys, signatures, strict=True)]
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, keys: Sequence[PublicKey]) -> OpenedNote:
    """Verify a note; signatures of keys that are not in `keys` are ignored.

    Raises:
        NoteError: the note is malformed, a signature of one of the keys is invalid, or none of the
            keys has signed it.
    """
    text, signatures = _split(note)
    known = {(key.name, key.key_hash): key for key in keys}
    signers: dict[PublicKey, None] = {}
    for name, blob in signatures:
        key = known.get((name, blob[:_HASH_PREFIX]))
        if key is None:
            continue
        if not key.verifies(text, blob[_HASH_PREFIX:]):
            raise NoteError(f"invalid signature of {key.name}+{key.key_id}")
        signers[key] = None
    if not signers:
        raise NoteError("the note is not signed with any of the known keys")
    return OpenedNote(text=text, signers=tuple(signers))


def key_ids(note: str) -> list[str]:
    """Return the key hashes in the signatures of a note, in hexadecimal, without verifying them.

    Raises:
        NoteError: the note is malformed.
    """
    return [blob[:_HASH_PREFIX].hex() for _name, blob in _split(note)[1]]


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    head, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not separator or _CONTROL.search(note) or lines.pop() or not lines:
        raise NoteError("invalid note: expected text, an empty line, and signature lines")
    if len(lines) > _MAX_SIGNATURES:
        raise NoteError(f"invalid note: more than {_MAX_SIGNATURES} signatures")
    return head + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes]:
    match = _SIGNATURE.fullmatch(line)
    blob = _unbase64(match[2]) if match else b""
    if match is None or len(blob) <= _HASH_PREFIX:
        raise NoteError("invalid signature line: expected a dash, a key name and base64")
    return match[1], blob


def _parse_key(form: re.Pattern[str], text: str, kind: str) -> tuple[str, str, bytes]:
    match = form.fullmatch(text)
    blob = _unbase64(match[3]) if match else b""
    if match is None or blob[:1] != _ED25519 or len(blob) != 1 + _KEY_BYTES:
        raise NoteError(f"invalid {kind} key: expected the signed note format (Ed25519)")
    return match[1], match[2], blob[1:]


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _unbase64(text: str) -> bytes:
    """Decode canonical base64 only."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise NoteError("invalid base64") from None
    if _base64(raw) != text:
        raise NoteError("invalid base64: not canonical")
    return raw
