"""Message authentication code (MAC) of a body; its key is kept outside the database."""

from __future__ import annotations

import hashlib
import hmac
from functools import cached_property

from auditspan.format.key_line import KeyLine


class MacKey(KeyLine):
    """Secret of 32 bytes with the id that rows refer to (HMAC-SHA256, RFC 2104)."""

    KIND = "MAC"

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
