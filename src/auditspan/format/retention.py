"""Records of retention: purges of old rows, and legal holds that prevent them.

`trail.purge` authorises the removal of the first rows of the sequence; `trail.hold` and
`trail.release` place and release a legal hold. Like a `KeyAddition`, each is protected with the MAC
key in two ways: by the MAC of its body, and by a proof over its metadata alone, which an event with
the same action that an application records does not contain.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from auditspan.format.canonical import Json, canonical_json
from auditspan.format.mac import MacKey

PURGE = "trail.purge"
"""The action of the record that authorises a purge."""

HOLD = "trail.hold"
"""The action of the record that places a legal hold."""

RELEASE = "trail.release"
"""The action of the record that releases a legal hold."""

RETENTION_TARGET = ("trail", "retention")
"""The type and id of the target of these records."""

_ROOT = re.compile("[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_MEMBER = "retention"
_PROOF = "proof"


def attested(action: str, members: Mapping[str, Json], key: MacKey | None) -> dict[str, Json]:
    """Return the metadata of a record; with a key, including the proof made with it."""
    proof: dict[str, Json] = {_PROOF: _proof(action, members, key)} if key else {}
    return {_MEMBER: {**members, **proof}}


def stated(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a record of retention states; empty if its metadata has no such member."""
    found = metadata.get(_MEMBER)
    return found if isinstance(found, Mapping) else {}


def is_attested(action: str, metadata: Mapping[str, Any], key: MacKey) -> bool:
    """Return whether the metadata of a record contains the proof made with this key."""
    members = dict(stated(metadata))
    proof = str(members.pop(_PROOF, None)).encode()
    return hmac.compare_digest(_proof(action, members, key).encode(), proof)


@dataclass(frozen=True, kw_only=True)
class PurgeStatement:
    """Statement that the first `size` leaves, with this root, may have no row.

    Attributes:
        before: the cut-off, in the format of the body; the checkpoint of this size is older.
    """

    size: int
    root: bytes
    before: str

    def members(self) -> dict[str, Json]:
        """Return what the record states, without a proof."""
        return {"size": self.size, "root": self.root.hex(), "before": self.before}

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Return the statement in the metadata of a record; None if there is none."""
        size, root, before = map(stated(metadata).get, ("size", "root", "before"))
        if type(size) is not int or size < 1:
            return None
        if not (isinstance(root, str) and _ROOT.fullmatch(root)):
            return None
        if not (isinstance(before, str) and _TIME.fullmatch(before)):
            return None
        return cls(size=size, root=bytes.fromhex(root), before=before)


def _proof(action: str, members: Mapping[str, Json], key: MacKey) -> str:
    return key.attest(f"{action}\0{canonical_json(dict(members))}")
