"""Inclusion and consistency proofs for a Merkle tree (RFC 9162 §2.1.3 and §2.1.4).

Making a proof requires all leaf hashes; anyone can verify one from bytes alone. A proof shows that
a leaf is in a tree, or that a tree is the beginning of a later one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditspan.tlog.merkle import HASH_BYTES, Tree, hash_node


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion path of the leaf at `index` in this tree (RFC 9162 §2.1.3.1).

    Raises:
        ValueError: there is no leaf at `index`.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"there is no leaf {index} in a tree of {len(leaves)} leaves")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), _root(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), _root(leaves[:split])]


def inclusion_proof_after(tree: Tree, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion path of the leaf at `index` in the tree that `leaves` extend.

    The same path as from `inclusion_proof`, but the leaves of the earlier `tree` are not needed:
    every node of the path that lies in it is made of nodes of its frontier. The leaf itself must be
    one of the `leaves`.

    Raises:
        ValueError: the leaf at `index` is not one of the `leaves`.
    """
    size = tree.size + len(leaves)
    if not tree.size <= index < size:
        raise ValueError(f"leaf {index} is not one of the leaves from {tree.size} to {size - 1}")
    known = _subtrees(tree) | {(tree.size + at, 1): leaf for at, leaf in enumerate(leaves)}
    proof, start, count = [], 0, size
    while count > 1:
        split = _split(count)
        if index < start + split:
            proof.append(_known_root(known, start + split, count - split))
            count = split
        else:
            proof.append(_known_root(known, start, split))
            start, count = start + split, count - split
    return proof[::-1]


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


def consistency_proof(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """Return the proof that the whole tree begins with the tree of the first `size` leaves.

    RFC 9162 §2.1.4.1. It is empty if `size` is the size of the whole tree.

    Raises:
        ValueError: `size` is not between 1 and the number of leaves.
    """
    if not 0 < size <= len(leaves):
        raise ValueError(f"invalid size {size}: expected 1 to {len(leaves)}, the number of leaves")
    return _subproof(leaves, size, is_whole=True)


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


def _subproof(leaves: Sequence[bytes], size: int, *, is_whole: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if is_whole else [_root(leaves)]
    split = _split(len(leaves))
    if size <= split:
        return [*_subproof(leaves[:split], size, is_whole=is_whole), _root(leaves[split:])]
    return [*_subproof(leaves[split:], size - split, is_whole=False), _root(leaves[:split])]


def _subtrees(tree: Tree) -> dict[tuple[int, int], bytes]:
    """Return the nodes of the frontier by their first leaf and their number of leaves."""
    found, start = {}, 0
    for node in tree.frontier:
        count = 1 << (tree.size - start).bit_length() - 1
        found[start, count] = node
        start += count
    return found


def _known_root(known: Mapping[tuple[int, int], bytes], start: int, count: int) -> bytes:
    """Return the root of `count` leaves from `start` on."""
    if (start, count) in known:
        return known[start, count]
    split = _split(count)
    left = _known_root(known, start, split)
    return hash_node(left, _known_root(known, start + split, count - split))


def _split(size: int) -> int:
    """Return the largest power of two that is smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1


def _root(leaves: Sequence[bytes]) -> bytes:
    return Tree().append(leaves).root


def _is_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
