"""Erasure key: encrypts the keys of subjects, which encrypt their disclosures.

It is kept outside the database. Each subject has its own key, which the database has only in
encrypted form (AES key wrap, RFC 3394); a disclosure is encrypted with it (AES-256-GCM).
"""

from __future__ import annotations

import hashlib
import hmac

from auditspan.format.key_line import KeyLine

KEY_BYTES = 32
"""The length of the key of a subject."""

NONCE_BYTES = 12


class ErasureKey(KeyLine):
    """Secret of 32 bytes with the id that the encrypted keys of subjects refer to."""

    KIND = "erasure"

    def term(self, member: str, label: str) -> str:
        """Return a keyed digest by which events whose member has this label are found."""
        message = b"auditspan-erasure-label\0" + f"{member}\0{label}".encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:32]

    def wrap(self, subject_key: bytes) -> bytes:
        """Encrypt the key of a subject."""
        from cryptography.hazmat.primitives.keywrap import aes_key_wrap

        return aes_key_wrap(self.secret, subject_key)

    def unwrap(self, wrapped: bytes) -> bytes | None:
        """Decrypt the key of a subject; None if it was changed or wrapped with another key."""
        from cryptography.hazmat.primitives.keywrap import (
            InvalidUnwrap,
            aes_key_unwrap,
        )

        try:
            return aes_key_unwrap(self.secret, wrapped)
        except (InvalidUnwrap, ValueError):
            return None


class SubjectCipher:
    """Cipher under the key of a subject; it is kept for several disclosures of the subject."""

    def __init__(self, subject_key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher: AESGCM = AESGCM(subject_key)

    def encrypt(self, disclosure: str, sha256: str, nonce: bytes) -> bytes:
        """Return the nonce and the encrypted disclosure, which is bound to its commitment."""
        return nonce + self._cipher.encrypt(nonce, disclosure.encode(), sha256.encode())

    def decrypt(self, encrypted: bytes, sha256: str) -> str | None:
        """Return the disclosure; None if it was changed or encrypted with another key."""
        from cryptography.exceptions import InvalidTag

        nonce, content = encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, content, sha256.encode()).decode()
        except (InvalidTag, ValueError):
            return None
