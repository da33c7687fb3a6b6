"""Secret key with an id, written as one line of a key file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import ClassVar, Self

from auditspan.errors import AuditConfigError

SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class KeyLine:
    """Secret of 32 bytes with the id that stored values refer to.

    Attributes:
        KIND: what the key is for, in one word; part of the line and of the id.
        key_id: the id.
        secret: the secret.
    """

    KIND: ClassVar[str]

    key_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Return the key for a secret; its id is a hash, so that equal keys have equal ids."""
        if len(secret) != SECRET_BYTES:
            raise AuditConfigError(
                f"invalid {cls.KIND} secret: expected {SECRET_BYTES} bytes, got {len(secret)}"
            )
        digest = hashlib.sha256(f"{cls._prefix()}\0".encode() + secret).hexdigest()
        return cls(key_id=digest[:8], secret=secret)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of a key file, as written by `dump`.

        Raises:
            AuditConfigError: the text is invalid, or its id does not match its secret.
        """
        match = re.fullmatch(rf"{cls._prefix()}-v1 ([0-9a-f]{{8}}) ([0-9a-f]{{64}})\s*", text)
        key = cls.from_secret(bytes.fromhex(match[2])) if match else None
        if key is None or match is None or key.key_id != match[1]:
            raise AuditConfigError(
                f"invalid {cls.KIND} key file: expected one line '{cls._prefix()}-v1 ID SECRET' "
                "(hexadecimal)"
            )
        return key

    def dump(self) -> str:
        """Return the text of a key file, which is secret."""
        return f"{self._prefix()}-v1 {self.key_id} {self.secret.hex()}\n"

    @classmethod
    def _prefix(cls) -> str:
        return f"auditspan-{cls.KIND.lower()}"
