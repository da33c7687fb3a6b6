"""Erasure key: encrypts the keys of subjects, which encrypt their disclosures.

It is kept outside the database. Each subject has its own key, which the database has only in
encrypted form (AES key wrap, RFC 3394); a disclosure is encrypted with it (AES-256-GCM).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditspan.errors import AuditConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
_FILE = re.compile(r"auditspan-erasure-v1 ([0-9a-f]{8}) ([0-9a-f]{64})\s*")


@dataclass(frozen=True, kw_only=True)
class ErasureKey:
    """Secret of 32 bytes with the id that the encrypted keys of subjects refer to."""

    key_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> ErasureKey:
        """Return the key for a secret; its id is a hash, so that equal keys have equal ids."""
        if len(secret) != KEY_BYTES:
            raise AuditConfigError(
                f"invalid erasure secret: expected {KEY_BYTES} bytes, got {len(secret)}"
            )
        digest = hashlib.sha256(b"auditspan-erasure\0" + secret).hexdigest()
        return cls(key_id=digest[:8], secret=secret)

    @classmethod
    def parse(cls, text: str) -> ErasureKey:
        """Parse the text of a key file, as written by `dump`.

        Raises:
            AuditConfigError: the text is invalid, or its id does not match its secret.
        """
        match = _FILE.fullmatch(text)
        key = cls.from_secret(bytes.fromhex(match[2])) if match else None
        if key is None or match is None or key.key_id != match[1]:
            raise AuditConfigError(
                "invalid erasure key file: expected one line 'auditspan-erasure-v1 ID SECRET' "
                "(hexadecimal)"
            )
        return key

    def dump(self) -> str:
        """Return the text of a key file, which is secret."""
        return f"auditspan-erasure-v1 {self.key_id} {self.secret.hex()}\n"

    def term(self, member: str, label: str) -> str:
        """Return a keyed digest by which events whose member has this label are found."""
        message = b"auditspan-erasure-label\0" + f"{member}\0{label}".encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:32]

    def wrap(self, subject_key: bytes) -> bytes:
        """Encrypt the key of a subject."""
        from cryptography.hazmat.primitives.keywrap import aes_key_wrap  # noqa: PLC0415 (as below)

        return aes_key_wrap(self.secret, subject_key)

    def unwrap(self, wrapped: bytes) -> bytes | None:
        """Decrypt the key of a subject; None if it was changed or wrapped with another key."""
        from cryptography.hazmat.primitives.keywrap import (  # noqa: PLC0415 (imported when used)
            InvalidUnwrap,
            aes_key_unwrap,
        )

        try:
            return aes_key_unwrap(self.secret, wrapped)
        except (InvalidUnwrap, ValueError):
            return None


def encrypt(subject_key: bytes, disclosure: str, sha256: str, nonce: bytes) -> bytes:
    """Return the nonce and the encrypted disclosure, which is bound to its commitment."""
    return nonce + _cipher(subject_key).encrypt(nonce, disclosure.encode(), sha256.encode())


def decrypt(subject_key: bytes, encrypted: bytes, sha256: str) -> str | None:
    """Return the disclosure; None if it was changed or encrypted with another key."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (imported when used)

    nonce, content = encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:]
    try:
        return _cipher(subject_key).decrypt(nonce, content, sha256.encode()).decode()
    except (InvalidTag, ValueError):
        return None


def _cipher(subject_key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (imported when used)

    return AESGCM(subject_key)
