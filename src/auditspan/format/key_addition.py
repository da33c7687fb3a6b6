"""Record that covers the rows written before a trail had a MAC key.

It states that the first `size` leaves have the root `root`, and that rows among them may lack a
MAC. It is protected with the key in two ways: by the MAC of its body, as in every record, and by a
proof over size and root alone. An event with this action that is recorded through the API does not
contain such a proof.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from auditspan.format.canonical import Json
from auditspan.format.mac import MacKey

KEY_ADDED = "trail.key_added"
"""The action of the record."""

TARGET = ("trail", "mac-key")
"""The type and id of its target."""

_ROOT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class KeyAddition:
    """Statement that rows among the first `size` leaves, with this root, may lack a MAC."""

    size: int
    root: bytes

    def metadata(self, key: MacKey) -> dict[str, Json]:
        """Return the metadata of the record, including the proof made with this key."""
        return {"size": self.size, "root": self.root.hex(), "proof": self._proof(key)}

    @classmethod
    def read(cls, body: str, mac: str, key: MacKey) -> Self | None:
        """Return the statement of a record; None unless this key verifies its MAC and proof."""
        if not key.verifies(body, mac):
            return None
        members = json.loads(body)
        metadata = members.get("metadata")
        if members.get("action") != KEY_ADDED or not isinstance(metadata, Mapping):
            return None
        return cls._proven(metadata, key)

    @classmethod
    def _proven(cls, metadata: Mapping[str, Any], key: MacKey) -> Self | None:
        size, root, proof = (metadata.get(name) for name in ("size", "root", "proof"))
        if type(size) is not int or not isinstance(root, str) or not _ROOT.fullmatch(root):
            return None
        stated = cls(size=size, root=bytes.fromhex(root))
        is_proven = hmac.compare_digest(stated._proof(key).encode(), str(proof).encode())
        return stated if is_proven and size > 0 else None

    def _proof(self, key: MacKey) -> str:
        return key.attest(f"key-added\0{self.size}\0{self.root.hex()}")
