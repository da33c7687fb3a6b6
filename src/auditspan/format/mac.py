"""Message authentication code (MAC) of a body; its key is kept outside the database."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from functools import cached_property

from auditspan.errors import AuditConfigError

SECRET_BYTES = 32
_FILE = re.compile(r"auditspan-mac-v1 ([0-9a-f]{8}) ([0-9a-f]{64})\s*")


@dataclass(frozen=True, kw_only=True)
class MacKey:
    """Secret of 32 bytes with the id that rows refer to (HMAC-SHA256, RFC 2104)."""

    key_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> MacKey:
        """Return the key for a secret; its id is a hash, so that equal keys have equal ids."""
        if len(secret) != SECRET_BYTES:
            raise AuditConfigError(
                f"invalid MAC secret: expected {SECRET_BYTES} bytes, got {len(secret)}"
            )
        return cls(
            key_id=hashlib.sha256(b"auditspan-mac\0" + secret).hexdigest()[:8], secret=secret
        )

    @classmethod
    def parse(cls, text: str) -> MacKey:
        """Parse the text of a key file, as written by `dump`.

        Raises:
            AuditConfigError: the text is invalid, or its id does not match its secret.
        """
        match = _FILE.fullmatch(text)
        key = cls.from_secret(bytes.fromhex(match[2])) if match else None
        if key is None or match is None or key.key_id != match[1]:
            raise AuditConfigError(
                "invalid MAC key file: expected one line 'auditspan-mac-v1 ID SECRET' (hexadecimal)"
            )
        return key

    def dump(self) -> str:
        """Return the text of a key file, which is secret."""
        return f"auditspan-mac-v1 {self.key_id} {self.secret.hex()}\n"

    def sign(self, body: str) -> str:
        """Return the MAC of a body, as 64 hexadecimal digits."""
        keyed = self._keyed.copy()
        keyed.update(body.encode())
        return keyed.hexdigest()

    def verifies(self, body: str, mac: str) -> bool:
        """Check that the MAC matches this body, in constant time."""
        return hmac.compare_digest(self.sign(body).encode(), mac.encode("utf-8", "replace"))

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the cached HMAC object, which cannot be pickled or copied."""
        return {"key_id": self.key_id, "secret": self.secret}

    @cached_property
    def _keyed(self) -> hmac.HMAC:
        """The HMAC object for this key, cached because keying dominates for short bodies."""
        return hmac.new(self.secret, digestmod=hashlib.sha256)

    def attest(self, statement: str) -> str:
        """Return a keyed digest of a statement about the trail; not valid as the MAC of a body."""
        message = b"auditspan-statement\0" + statement.encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def fingerprint(self, field_name: str, text: str) -> str:
        """Return a keyed digest of a redacted value: equal values have equal digests.

        It is useless without the key.
        """
        message = b"auditspan-fingerprint\0" + f"{field_name}\0{text}".encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:32]
