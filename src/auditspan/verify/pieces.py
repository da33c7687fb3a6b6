"""Pieces of the sequence whose rows were checked; what is left to check is the tree over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from auditspan.format import SealedLeaf
from auditspan.verify.finding import Finding, Kind
from auditspan.verify.row_check import RowCheck

_LEAVES = 1000


class Place(NamedTuple):
    """A leaf and its row."""

    seq: int
    row_id: int
    event_id: str


class Piece(NamedTuple):
    """Leaves that follow each other, at least one, with the findings about their rows.

    Attributes:
        first: the first of them.
        last: the sequence number of the last one.
        hashes: their hashes.
        findings: each with the number of leaves of the piece before its own, in this order.
        purged: the number of rows that a purge removed.
    """

    first: Place
    last: int
    hashes: list[bytes]
    findings: list[tuple[int, Finding]]
    purged: int


def checked_pieces(leaves: Iterable[SealedLeaf], rows: RowCheck) -> Iterator[Piece]:
    """Check the rows of these leaves, and yield them in pieces."""
    rest = iter(leaves)
    while (first := next(rest, None)) is not None:
        yield _checked(first, islice(rest, _LEAVES - 1), rows)


def _checked(first: SealedLeaf, others: Iterable[SealedLeaf], rows: RowCheck) -> Piece:
    hashes, findings, purged = list[bytes](), list[tuple[int, Finding]](), 0
    expected = first.seq
    for leaf in _both(first, others):
        if leaf.seq != expected:  # 1
            findings.append((len(hashes), gap(_place(leaf), expected)))
        expected = leaf.seq + 1
        if not rows.is_whole(leaf):
            purged += rows.is_purged(leaf)
            findings += ((len(hashes), _finding(leaf, *wrong)) for wrong in rows.wrong(leaf))
        hashes.append(leaf.leaf_hash)
    return Piece(_place(first), expected - 1, hashes, findings, purged)


def gap(place: Place, expected: int) -> Finding:
    """Return the finding that leaves are missing before this one."""
    detail = f"expected sequence number {expected}"
    return Finding(kind="gap", detail=detail, **place._asdict())


def _both(first: SealedLeaf, others: Iterable[SealedLeaf]) -> Iterator[SealedLeaf]:
    yield first
    yield from others


def _place(leaf: SealedLeaf) -> Place:
    return Place(leaf.seq, leaf.row_id, leaf.event_id)


def _finding(leaf: SealedLeaf, kind: Kind, detail: str) -> Finding:
    return Finding(kind=kind, detail=detail, **_place(leaf)._asdict())
