"""The verification steps, checked row by row in sequence order.

1. the sequence is dense from 0, and every leaf has its row, unless a purge removed it
   (`storage.purges`)
2. the MAC matches the body, if the key is given; a row lacks a MAC only if it was sealed before
   the trail had a key, and a record under the key covers it (`format.key_addition`)
3. the body is canonical JSON
4. the plain columns match the body
5. the leaf is the hash of the row
6. every checkpoint's root is the root of the leaves before it
7. the notes of the checkpoints are signed and match them, if a public key is given
8. no two rows have the same event id (`trail`)
9. everything that the witness has seen still exists (`witness`)
10. a replay of the trail matches the live tables (`state`)
11. no sink has acknowledged more rows than exist (`trail`)
12. rows without a leaf pass steps 2 to 4, and are not older than the last checkpoint
    (`unsealed_rows`)
13. the disclosures of erasable values match the body, and none is missing whose subject was not
    erased afterwards (`disclosures`)

Only canonical text ever gets a MAC, which requires the key: if step 2 passes, step 3 does too, so
the canonical text is not built again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from auditspan.errors import AuditBodyError
from auditspan.format import (
    COLUMNS,
    KeyAddition,
    Keyring,
    SealedLeaf,
    copy_id,
    derived_columns,
    parse_canonical,
    says,
)
from auditspan.storage import Purge
from auditspan.tlog import PublicKey, Tree, TreeBuilder, check_checkpoint, hash_leaf, incarnation_of

Kind: TypeAlias = Literal[
    "gap",
    "missing-row",
    "body",
    "column",
    "mac",
    "leaf",
    "root",
    "checkpoint",
    "note",
    "emptied",
    "tail",
    "rewritten",
    "witness",
    "duplicate",
    "unsealed",
    "delivery",
    "disclosure",
]

_NO_ADDITION = (
    ": if the trail had no key when the row was written, record that once for all such rows, with "
    "`auditspan keys cover` or `trail.cover_rows_without_mac`; otherwise the row was not "
    "inserted by the application"
)
_NOT_COVERED = (
    "are not those that trail.key_added covers: do not trust rows without a MAC among them"
)
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One failure of verification."""

    kind: Kind
    seq: int | None
    row_id: int | None
    event_id: str | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint in the table."""

    size: int
    root: bytes
    note: str | None
    frontier: bytes = b""


@dataclass(kw_only=True)
class Verifier:
    """Verifier of leaves that are given in sequence order.

    Attributes:
        roots: the root of every checkpoint by its tree size.
        keys: one of these must have made the MAC of every row; without keys, step 2 is skipped.
        start: the tree of the leaves that are not given, because they were checked before.
        wanted: further sizes for which to keep the root in `seen`.
        additions: the statements that cover rows without a MAC.
        purge: the authorised purge of the most rows, if there is one.
        purged: the number of rows so far that the purge removed.
        seen: the root of the leaves at every size of `roots` and `wanted` that was reached.
    """

    roots: Mapping[int, bytes]
    keys: Keyring = field(default_factory=Keyring)
    start: Tree = field(default_factory=Tree)
    wanted: frozenset[int] = frozenset()
    additions: Sequence[KeyAddition] = ()
    purge: Purge | None = None
    purged: int = 0
    seen: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._builder = TreeBuilder(self.start)
        self._covering = {one.size: one.root for one in self.additions}
        self._covered = max(self._covering, default=0)
        self._stops = self.wanted | self.roots.keys() | self._covering.keys()

    @property
    def tree(self) -> Tree:
        """The tree of the leaves so far."""
        return self._builder.tree()

    def check(self, leaves: Iterable[SealedLeaf]) -> Iterator[Finding]:
        """Yield findings as they are made."""
        yield from self._reach()
        expected = self.start.size
        for leaf in leaves:
            if leaf.seq != expected:  # 1
                yield _finding(leaf, "gap", f"expected sequence number {expected}")
            expected = leaf.seq + 1
            if not self._is_whole(leaf):
                for kind, detail in self._wrong(leaf):
                    yield _finding(leaf, kind, detail)
            self._builder.append(leaf.leaf_hash)
            if self._builder.size in self._stops:
                yield from self._reach()
        yield from self._check_end()

    def _is_whole(self, leaf: SealedLeaf) -> bool:
        """Return True if steps 2 to 5 find nothing; False means that they must be run."""
        _, row_id, event_id, leaf_hash, recorded_at, body, mac, mac_key_id, columns = leaf
        key = self.keys.get(mac_key_id or "")
        if key is None or body is None or mac is None or recorded_at is None:
            return False
        return (
            key.verifies(body, mac)  # 2, 3
            and event_id == columns[0]
            and says(body, columns)  # 4
            and leaf_hash == hash_leaf(row_id=row_id, recorded_at=recorded_at, mac=mac, body=body)
        )

    def _wrong(self, leaf: SealedLeaf) -> Sequence[tuple[Kind, str]]:
        if leaf.body is None or leaf.recorded_at is None:
            if self._is_purged(leaf):
                self.purged += 1
                return []
            return [("missing-row", "the sealed row is not in the table")]
        wrong = self.check_row(leaf, leaf.body)
        if leaf.leaf_hash != hash_leaf(  # 5
            row_id=leaf.row_id, recorded_at=leaf.recorded_at, mac=leaf.mac, body=leaf.body
        ):
            wrong.append(("leaf", "the row differs from the one that was sealed"))
        return wrong

    def check_row(self, leaf: SealedLeaf, body: str) -> list[tuple[Kind, str]]:
        """Check only the row, steps 2 to 4; also for a row that has no leaf yet."""
        wrong: list[tuple[Kind, str]] = []
        is_checked = bool(self.keys) and not self._is_covered(leaf)
        false_mac = self._false_mac(leaf, body) if is_checked else None  # 2
        if false_mac:
            wrong.append(("mac", false_mac))
        members = _parse(body, is_known=is_checked and not false_mac)
        if members is None:  # 3
            wrong.append(("body", "the body is not canonical JSON"))
        elif leaf.columns != (derived := derived_columns(members)):  # 4
            wrong += _differing(leaf.columns, derived)
        if members is not None and leaf.event_id != members.get("event_id"):  # 4
            if leaf.event_id == copy_id(leaf.row_id):  # 8
                wrong.append(("duplicate", "another row had this event id when it was sealed"))
            else:
                wrong.append(("column", "the leaf's event_id differs from the body"))
        return wrong

    def _is_purged(self, leaf: SealedLeaf) -> bool:
        """Return whether the row is gone, and the purge authorises that."""
        is_gone = leaf.body is None and leaf.recorded_at is None
        return is_gone and self.purge is not None and 0 <= leaf.seq < self.purge.size

    def _is_covered(self, leaf: SealedLeaf) -> bool:
        """Return whether the row may lack a MAC; a row without a leaf may not."""
        return leaf.mac is None and leaf.mac_key_id is None and 0 <= leaf.seq < self._covered

    def _false_mac(self, leaf: SealedLeaf, body: str) -> str | None:
        key = self.keys.get(leaf.mac_key_id or "")
        if leaf.mac is None and leaf.mac_key_id is None:
            return "the row has no MAC" + ("" if self._covered else _NO_ADDITION)
        if leaf.mac is None or key is None:
            return f"the row has no MAC under the key {' or '.join(self.keys)}"
        return None if key.verifies(body, leaf.mac) else "the MAC does not match the body"

    def _reach(self) -> Iterator[Finding]:
        """Compare the tree at the size reached with the checkpoint of that size."""
        tree = self.tree
        if tree.size not in self._stops:
            return
        self.seen[tree.size] = tree.root
        if self._covering.get(tree.size, tree.root) != tree.root:  # 2
            yield about_size("mac", tree.size, f"the first {tree.size} rows {_NOT_COVERED}")
        if self.roots.get(tree.size, tree.root) != tree.root:  # 6
            yield about_size(
                "root", tree.size, f"the checkpoint of size {tree.size} has another root"
            )

    def _check_end(self) -> Iterator[Finding]:
        # Leaves and their checkpoint are one transaction: a missing checkpoint was removed.
        size = self._builder.size
        if size and size not in self.roots:  # 6
            yield about_size("checkpoint", size, f"no checkpoint covers all {size} leaves")
        for claimed in sorted(claimed for claimed in self._covering if claimed > size):  # 2
            yield about_size("mac", claimed, f"the first {claimed} rows {_NOT_COVERED}")
        for claimed in sorted(claimed for claimed in self.roots if claimed > size):  # 6
            detail = f"a checkpoint covers {claimed} leaves, but the table has {size}"
            yield about_size("checkpoint", claimed, detail)


def check_notes(
    checkpoints: Sequence[StoredCheckpoint], keys: Sequence[PublicKey]
) -> Iterator[Finding]:
    """Run step 7 over all checkpoints in the order of their sizes.

    A checkpoint without a note is a finding, even before the first signed one: its note may have
    been removed. Unsigned checkpoints at the beginning are one finding, at the last of them.
    Incarnations must not decrease.
    """
    newest = 0
    for place, checkpoint in enumerate(checkpoints, start=1):
        wrong: str | None = None
        if checkpoint.note is not None:  # 7
            incarnation = incarnation_of(checkpoint.note)
            wrong = check_checkpoint(
                checkpoint.note, size=checkpoint.size, root=checkpoint.root, keys=tuple(keys)
            )
            if not wrong and incarnation < newest:
                wrong = f"it is of incarnation {incarnation}, but one before it is of {newest}"
            newest = max(newest, incarnation)
        elif newest or place == len(checkpoints) or checkpoints[place].note is not None:  # 7
            wrong = "the checkpoint is not signed"
        if wrong:
            detail = f"checkpoint of size {checkpoint.size}: {wrong}"
            yield about_size("note", checkpoint.size, detail)


def about_size(kind: Kind, size: int, detail: str) -> Finding:
    """Return a finding about the tree of this size, with the last sequence number in it."""
    return Finding(kind=kind, seq=size - 1, row_id=None, event_id=None, detail=detail)


def _differing(stored: Sequence[object], derived: Sequence[object]) -> list[tuple[Kind, str]]:
    pairs = zip(COLUMNS, stored, derived, strict=True)
    return [("column", f"{name} differs from the body") for name, a, b in pairs if a != b]


def _parse(body: str, *, is_known: bool) -> dict[str, Any] | None:
    """Return the members of a body; None if it is not a canonical object."""
    try:
        members = _decode(body)[0] if is_known else parse_canonical(body)
    except (ValueError, RecursionError, AuditBodyError):
        return None
    return members if isinstance(members, dict) else None


def _finding(leaf: SealedLeaf, kind: Kind, detail: str) -> Finding:
    return Finding(
        kind=kind, seq=leaf.seq, row_id=leaf.row_id, event_id=leaf.event_id, detail=detail
    )
