"""Signed notes and checkpoints (C2SP signed-note and tlog-checkpoint, Ed25519).

A note is a text, an empty line, and one line for each signature:

    <text, ends with a newline>

    — <key name> <base64(key hash, 4 bytes ‖ signature)>

The text of a checkpoint is the origin, the size and the base64 root, a line each, and possibly
extension lines. A key hash is SHA256(name ‖ 0x0A ‖ 0x01 ‖ public key)[:4].
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auditspan.tlog.merkle import HASH_BYTES

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
    """A text is no note, no key or no checkpoint, or its signature does not hold."""


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """What signatures are verified with; its text form (vkey) is `name+hash+base64`."""

    name: str
    raw: bytes

    @classmethod
    def parse(cls, vkey: str) -> PublicKey:
        """The key of a vkey text.

        Raises:
            NoteError: it is none, or its hash is not its own.
        """
        name, key_id, raw = _parse_key(_PUBLIC, vkey, "public")
        key = cls(name=name, raw=raw)
        if key.key_id != key_id:
            raise NoteError("the hash in the public key is not that of the key")
        return key

    @property
    def key_hash(self) -> bytes:
        """The four bytes by which a signature names its key."""
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
        """Whether the signature is that of this key over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A secret that signs notes; its text form (skey) is `PRIVATE+KEY+name+hash+base64`."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.seed) != _KEY_BYTES:
            raise NoteError("a signing key has a name without spaces or +, and 32 secret bytes")

    @classmethod
    def parse(cls, skey: str) -> SigningKey:
        """The key of an skey text.

        Raises:
            NoteError: it is none, or its hash is not its own; nothing of it is repeated.
        """
        name, key_id, seed = _parse_key(_PRIVATE, skey, "private")
        key = cls(name=name, seed=seed)
        if key.public.key_id != key_id:
            raise NoteError("the hash in the private key is not that of the key")
        return key

    @property
    def public(self) -> PublicKey:
        """The key that everybody may have."""
        return PublicKey(name=self.name, raw=self._private().public_key().public_bytes_raw())

    def dump(self) -> str:
        """The text form. It is secret."""
        return f"PRIVATE+KEY+{self.name}+{self.public.key_id}+{_base64(_ED25519 + self.seed)}"

    def sign(self, text: str) -> bytes:
        """The signature over a text, 64 bytes."""
        return self._private().sign(text.encode())

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, kw_only=True)
class OpenedNote:
    """A note of which at least one signature holds.

    Attributes:
        text: what was signed.
        signers: the keys whose signatures hold, in the order of the note.
    """

    text: str
    signers: tuple[PublicKey, ...]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The size and root of the log called `origin` at one moment."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a note, strictly.

        Raises:
            NoteError: it is no checkpoint.
        """
        if not text.endswith("\n"):
            raise NoteError("a checkpoint ends with a newline")
        lines = text[:-1].split("\n")
        if len(lines) < 3 or not all(lines) or not _DECIMAL.fullmatch(lines[1]):  # noqa: PLR2004
            raise NoteError("a checkpoint has an origin, a decimal size and a root, a line each")
        root, size = _unbase64(lines[2]), int(lines[1])
        if len(root) != HASH_BYTES or size > _MAX_SIZE:
            raise NoteError("a checkpoint's root has 32 bytes, and its size 63 bits")
        return cls(origin=lines[0], size=size, root=root, extensions=tuple(lines[3:]))

    def text(self) -> str:
        """The text that is signed."""
        lines = (self.origin, str(self.size), _base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def sign_note(text: str, keys: Sequence[SigningKey]) -> str:
    """The text as a note signed by every one of these keys.

    Raises:
        NoteError: the text cannot stand in a note, or nobody signs it.
    """
    if not keys or not text.endswith("\n") or _CONTROL.search(text):
        raise NoteError("a note is text that ends with a newline, signed by somebody")
    signatures = [_base64(key.public.key_hash + key.sign(text)) for key in keys]
    lines = [f"— {key.name} {done}\n" for key, done in zip(keys, signatures, strict=True)]
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, keys: Sequence[PublicKey]) -> OpenedNote:
    """Verify a note; signatures of keys that are not among `keys` are passed over.

    Raises:
        NoteError: it is malformed, a signature of one of the keys is false, or none is theirs.
    """
    text, signatures = _split(note)
    known = {(key.name, key.key_hash): key for key in keys}
    signers: dict[PublicKey, None] = {}
    for name, blob in signatures:
        key = known.get((name, blob[:_HASH_PREFIX]))
        if key is None:
            continue
        if not key.verifies(text, blob[_HASH_PREFIX:]):
            raise NoteError(f"the signature of {key.name}+{key.key_id} is false")
        signers[key] = None
    if not signers:
        raise NoteError("none of the known keys has signed the note")
    return OpenedNote(text=text, signers=tuple(signers))


def key_ids(note: str) -> list[str]:
    """The key hashes that the signatures of a note name, in hexadecimal; nothing is verified.

    Raises:
        NoteError: it is malformed.
    """
    return [blob[:_HASH_PREFIX].hex() for _name, blob in _split(note)[1]]


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    head, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not separator or _CONTROL.search(note) or lines.pop() or not lines:
        raise NoteError("a note is text, an empty line, and signature lines")
    if len(lines) > _MAX_SIGNATURES:
        raise NoteError(f"a note has at most {_MAX_SIGNATURES} signatures")
    return head + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes]:
    match = _SIGNATURE.fullmatch(line)
    blob = _unbase64(match[2]) if match else b""
    if match is None or len(blob) <= _HASH_PREFIX:
        raise NoteError("a signature line is a dash, a key name and base64")
    return match[1], blob


def _parse_key(form: re.Pattern[str], text: str, kind: str) -> tuple[str, str, bytes]:
    match = form.fullmatch(text)
    blob = _unbase64(match[3]) if match else b""
    if match is None or blob[:1] != _ED25519 or len(blob) != 1 + _KEY_BYTES:
        raise NoteError(f"that is no {kind} key of the signed note format (Ed25519)")
    return match[1], match[2], blob[1:]


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _unbase64(text: str) -> bytes:
    """Strictly: the one spelling of the bytes."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise NoteError("that is not base64") from None
    if _base64(raw) != text:
        raise NoteError("that is not the canonical base64")
    return raw
