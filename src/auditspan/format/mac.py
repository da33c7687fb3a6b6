"""The message authentication code of a body, under a key that the database never sees."""

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
    """A secret of 32 bytes and the id under which rows name it (HMAC-SHA256, RFC 2104)."""

    key_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> MacKey:
        """The key of a secret; the id is a hash of it, so that equal keys have equal ids."""
        if len(secret) != SECRET_BYTES:
            raise AuditConfigError(f"a MAC secret has {SECRET_BYTES} bytes, this one {len(secret)}")
        return cls(
            key_id=hashlib.sha256(b"auditspan-mac\0" + secret).hexdigest()[:8], secret=secret
        )

    @classmethod
    def parse(cls, text: str) -> MacKey:
        """Read what `dump` wrote.

        Raises:
            AuditConfigError: the text is no key file, or its id is not that of its secret.
        """
        match = _FILE.fullmatch(text)
        key = cls.from_secret(bytes.fromhex(match[2])) if match else None
        if key is None or match is None or key.key_id != match[1]:
            raise AuditConfigError(
                "the MAC key file does not hold one line 'auditspan-mac-v1 ID SECRET' (hexadecimal)"
            )
        return key

    def dump(self) -> str:
        """The text of a key file. It is secret."""
        return f"auditspan-mac-v1 {self.key_id} {self.secret.hex()}\n"

    def sign(self, body: str) -> str:
        """The MAC of a body, 64 hexadecimal digits."""
        keyed = self._keyed.copy()
        keyed.update(body.encode())
        return keyed.hexdigest()

    def verifies(self, body: str, mac: str) -> bool:
        """Whether the MAC is the one of this body, compared in constant time."""
        return hmac.compare_digest(self.sign(body).encode(), mac.encode("utf-8", "replace"))

    def __getstate__(self) -> dict[str, object]:
        """Without what was taken in: that cannot be pickled, nor copied."""
        return {"key_id": self.key_id, "secret": self.secret}

    @cached_property
    def _keyed(self) -> hmac.HMAC:
        """The key, taken in once: that is most of the time for a short body."""
        return hmac.new(self.secret, digestmod=hashlib.sha256)

    def attest(self, statement: str) -> str:
        """Return a keyed digest of a statement about the trail, which is no MAC of a body."""
        message = b"auditspan-statement\0" + statement.encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def fingerprint(self, field_name: str, text: str) -> str:
        """A keyed digest of a redacted value: equal for equal values, useless without the key."""
        message = b"auditspan-fingerprint\0" + f"{field_name}\0{text}".encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:32]
