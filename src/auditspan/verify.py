"""What makes a trail whole, checked row by row in sequence order.

1. the sequence is dense from 0, and every leaf has its row
2. the body is the canonical text of itself
3. the plain columns are what the body says
4. the MAC is that of the body, where the key is at hand
5. the leaf is the hash of the row
6. every checkpoint's root is the root of the leaves before it
7. the notes of the checkpoints are signed and say the same, where a public key is at hand
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from auditspan.canonical import canonical_json
from auditspan.errors import AuditBodyError
from auditspan.mac import MacKey
from auditspan.merkle import Tree, TreeBuilder, hash_leaf
from auditspan.note import PublicKey
from auditspan.signing import check_checkpoint

Kind = Literal["gap", "missing-row", "body", "column", "mac", "leaf", "root", "checkpoint", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it was written."""

    kind: Kind
    seq: int | None
    row_id: int | None
    event_id: str | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class SealedLeaf:
    """A leaf with the row that it stands for; `body` is None where the row is gone.

    `columns` are the plain columns as the table has them, timestamps in the form of the body.
    """

    seq: int
    row_id: int
    event_id: str
    leaf_hash: bytes
    recorded_at: str | None
    body: str | None
    mac: str | None
    mac_key_id: str | None
    columns: Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint as the table has it."""

    size: int
    root: bytes
    note: str | None


@dataclass(kw_only=True)
class Verifier:
    """Checks leaves that are fed in sequence order.

    Attributes:
        key: the key under which every row must be; None leaves step 4 out.
        roots: the root of every checkpoint by its tree size.
    """

    roots: Mapping[int, bytes]
    key: MacKey | None = None
    _builder: TreeBuilder = field(default_factory=TreeBuilder, repr=False)

    @property
    def tree(self) -> Tree:
        """The tree of the leaves so far."""
        return self._builder.tree()

    def check(self, leaves: Iterable[SealedLeaf]) -> Iterator[Finding]:
        """Yield what is wrong, as it is found."""
        yield from self._check_root()
        expected = 0
        for leaf in leaves:
            if leaf.seq != expected:  # 1
                yield _finding(leaf, "gap", f"expected sequence number {expected}")
            expected = leaf.seq + 1
            yield from self._check_leaf(leaf)
            self._builder.append(leaf.leaf_hash)
            if self._builder.size in self.roots:
                yield from self._check_root()
        yield from self._check_end()

    def _check_leaf(self, leaf: SealedLeaf) -> Iterator[Finding]:
        if leaf.body is None or leaf.recorded_at is None:
            yield _finding(leaf, "missing-row", "the sealed row is not in the table")
            return
        yield from _check_body(leaf, leaf.body)
        yield from self._check_mac(leaf, leaf.body)
        hashed = hash_leaf(
            row_id=leaf.row_id, recorded_at=leaf.recorded_at, mac=leaf.mac, body=leaf.body
        )
        if hashed != leaf.leaf_hash:  # 5
            yield _finding(leaf, "leaf", "the row is not the one that was sealed")

    def _check_mac(self, leaf: SealedLeaf, body: str) -> Iterator[Finding]:
        if self.key is None:
            return
        if leaf.mac is None or leaf.mac_key_id != self.key.key_id:  # 4
            yield _finding(leaf, "mac", f"the row is not under the key {self.key.key_id}")
        elif not self.key.verifies(body, leaf.mac):
            yield _finding(leaf, "mac", "the MAC is not that of the body")

    def _check_root(self) -> Iterator[Finding]:
        root = self.roots.get(self.tree.size)
        if root is not None and root != self.tree.root:  # 6
            detail = f"the checkpoint of size {self.tree.size} has another root"
            yield Finding(
                kind="root", seq=self.tree.size - 1, row_id=None, event_id=None, detail=detail
            )

    def _check_end(self) -> Iterator[Finding]:
        # Leaves and their checkpoint are one transaction: without one, it was taken away.
        if self.tree.size and self.tree.size not in self.roots:  # 6
            detail = f"no checkpoint covers all {self.tree.size} leaves"
            seq = self.tree.size - 1
            yield Finding(kind="checkpoint", seq=seq, row_id=None, event_id=None, detail=detail)
        for size in sorted(size for size in self.roots if size > self.tree.size):  # 6
            detail = f"a checkpoint covers {size} leaves, the table has {self.tree.size}"
            yield Finding(
                kind="checkpoint", seq=size - 1, row_id=None, event_id=None, detail=detail
            )


def check_notes(
    checkpoints: Sequence[StoredCheckpoint], keys: Sequence[PublicKey]
) -> Iterator[Finding]:
    """Step 7, over all checkpoints in the order of their sizes.

    Checkpoints from before the trail had a signing key carry no note. They are at the beginning,
    and a later one, which is signed, covers their leaves; anywhere else a note was taken away.
    """
    signed_before = False
    for place, checkpoint in enumerate(checkpoints, start=1):
        wrong: str | None = None
        if checkpoint.note is not None:  # 7
            wrong = check_checkpoint(
                checkpoint.note, size=checkpoint.size, root=checkpoint.root, keys=tuple(keys)
            )
            signed_before = True
        elif signed_before or place == len(checkpoints):  # 7
            wrong = "the checkpoint is not signed"
        if wrong:
            detail = f"checkpoint of size {checkpoint.size}: {wrong}"
            seq = checkpoint.size - 1
            yield Finding(kind="note", seq=seq, row_id=None, event_id=None, detail=detail)


def _check_body(leaf: SealedLeaf, body: str) -> Iterator[Finding]:
    members = _parse(body)
    if members is None:  # 2
        yield _finding(leaf, "body", "the body is not canonical JSON")
        return
    if leaf.event_id != members.get("event_id"):
        yield _finding(leaf, "column", "the leaf's event_id is not what the body says")
    derived = derived_columns(members)
    for name in sorted(derived):  # 3
        if leaf.columns.get(name) != derived[name]:
            yield _finding(leaf, "column", f"{name} is not what the body says")


def derived_columns(members: Mapping[str, Any]) -> dict[str, str | None]:
    """The plain columns of `audit_event` that a body determines."""
    actor, target = (_object(members.get(name)) for name in ("actor", "target"))
    return {
        "event_id": members.get("event_id"),
        "occurred_at": members.get("occurred_at"),
        "actor_type": actor.get("type"),
        "actor_id": actor.get("id"),
        "action": members.get("action"),
        "outcome": members.get("outcome"),
        "target_type": target.get("type"),
        "target_id": target.get("id"),
        "trace_id": members.get("trace_id"),
        "span_id": members.get("span_id"),
        "tx_id": members.get("tx_id"),
        "tenant": members.get("tenant"),
    }


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _parse(body: str) -> dict[str, Any] | None:
    try:
        members = json.loads(body)
        is_canonical = isinstance(members, dict) and canonical_json(members) == body
    except (ValueError, RecursionError, AuditBodyError):
        return None
    return members if is_canonical else None


def _finding(leaf: SealedLeaf, kind: Kind, detail: str) -> Finding:
    return Finding(
        kind=kind, seq=leaf.seq, row_id=leaf.row_id, event_id=leaf.event_id, detail=detail
    )
