"""Inclusion and consistency proofs for a Merkle tree (RFC 9162 §2.1.3 and §2.1.4).

A proof shows that a leaf is in a tree, or that a tree is the beginning of a later one. It consists
of the roots of spans of leaves; anyone can verify it from bytes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from auditspan.tlog.merkle import HASH_BYTES, hash_node


class Span(NamedTuple):
    """Consecutive leaves of a tree, from `start` to before `end`, that have a common root.

    Its length is at most the largest power of two that divides `start`.
    """

    start: int
    end: int


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Return the spans whose roots are the inclusion path of a leaf (RFC 9162 §2.1.3.1).

    Raises:
        ValueError: there is no leaf at `index`.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size} leaves")
    spans, start, end = list[Span](), 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(size: int, later_size: int) -> list[Span]:
    """Return the spans whose roots prove that a tree begins with an earlier one.

    RFC 9162 §2.1.4.1. There are none if the sizes are equal.

    Raises:
        ValueError: `size` is not between 1 and `later_size`.
    """
    if not 0 < size <= later_size:
        raise ValueError(f"invalid size {size}: expected 1 to {later_size}, the number of leaves")
    spans, start, end = list[Span](), 0, later_size
    while size < end:
        middle = start + _split(end - start)
        if size <= middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    # The earlier tree as a whole is known to those who check the proof.
    return [*([Span(start, end)] if start else []), *spans[::-1]]


def verify_inclusion(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Check the proof that `leaf` is at `index` in the tree of `size` and `root`.

    RFC 9162 §2.1.3.2. A malformed proof is invalid.
    """
    if not 0 <= index < size or not _is_hashes([leaf, root, *proof]):
        return False
    node, at, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = hash_node(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = hash_node(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(
    *, size: int, root: bytes, later_size: int, later_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Check the proof that the later tree begins with the earlier one.

    RFC 9162 §2.1.4.2. A malformed proof is invalid.
    """
    if not 0 < size <= later_size or not _is_hashes([root, later_root, *proof]):
        return False
    if size == later_size:
        return not proof and root == later_root
    path = [root, *proof] if size & (size - 1) == 0 else list(proof)
    if not proof:
        return False
    at, last = size - 1, later_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    return _walk(path, at, last) == (root, later_root)


def _walk(path: Sequence[bytes], at: int, last: int) -> tuple[bytes, bytes] | None:
    """Return the two roots that a consistency path leads to (RFC 9162 §2.1.4.2, steps 4 to 6)."""
    earlier = later = path[0]
    for node in path[1:]:
        if last == 0:
            return None
        if at & 1 or at == last:
            earlier, later = hash_node(node, earlier), hash_node(node, later)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            later = hash_node(later, node)
        at, last = at >> 1, last >> 1
    return (earlier, later) if last == 0 else None


def _split(size: int) -> int:
    """Return the largest power of two that is smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1


def _is_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
