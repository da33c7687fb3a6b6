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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from auditspan.format import KeyAddition
from auditspan.tlog import PublicKey, Tree, TreeBuilder, check_checkpoint, incarnation_of
from auditspan.verify.finding import Finding, about_size
from auditspan.verify.pieces import Piece, gap

_NOT_COVERED = (
    "are not those that trail.key_added covers: do not trust rows without a MAC among them"
)


_NONE: tuple[int, Finding | None] = (-1, None)


@dataclass(frozen=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint in the table."""

    size: int
    root: bytes
    note: str | None
    frontier: bytes = b""


@dataclass(kw_only=True)
class Verifier:
    """Verifier of the tree over leaves that are given in sequence order.

    Attributes:
        roots: the root of every checkpoint by its tree size.
        start: the tree of the leaves that are not given, because they were checked before.
        wanted: further sizes for which to keep the root in `seen`.
        additions: the statements that cover rows without a MAC.
        purged: the number of rows so far that a purge removed.
        seen: the root of the leaves at every size of `roots` and `wanted` that was reached.
    """

    roots: Mapping[int, bytes]
    start: Tree = field(default_factory=Tree)
    wanted: frozenset[int] = frozenset()
    additions: Sequence[KeyAddition] = ()
    purged: int = 0
    seen: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._builder = TreeBuilder(self.start)
        self._covering = {one.size: one.root for one in self.additions}
        self._stops = self.wanted | self.roots.keys() | self._covering.keys()

    @property
    def tree(self) -> Tree:
        """The tree of the leaves so far."""
        return self._builder.tree()

    @property
    def covered(self) -> int:
        """The number of leaves whose rows may lack a MAC."""
        return max(self._covering, default=0)

    def check(self, pieces: Iterable[Piece]) -> Iterator[Finding]:
        """Yield findings as they are made, those of the rows included."""
        yield from self._reach()
        expected = self.start.size
        for piece in pieces:
            if piece.first.seq != expected:  # 1
                yield gap(piece.first, expected)
            expected = piece.last + 1
            self.purged += piece.purged
            yield from self._append(piece)
        yield from self._check_end()

    def _append(self, piece: Piece) -> Iterator[Finding]:
        of_rows = iter(piece.findings)
        before, finding = next(of_rows, _NONE)
        for number, leaf_hash in enumerate(piece.hashes):
            while before == number and finding:
                yield finding
                before, finding = next(of_rows, _NONE)
            self._builder.append(leaf_hash)
            if self._builder.size in self._stops:
                yield from self._reach()

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
