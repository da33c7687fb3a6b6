"""Proofs about the Merkle tree: equal to the RFC, and convincing only when they are true."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditspan.tlog.merkle import Tree, hash_leaf
from auditspan.tlog.proofs import (
    consistency_spans,
    inclusion_spans,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [hashlib.sha256(str(n).encode()).digest() for n in range(300)]
ROOTS = [Tree().append(LEAVES[:size]).root for size in range(301)]
HASHES = st.binary(min_size=32, max_size=32)


def inclusion_proof(leaves: list[bytes], index: int) -> list[bytes]:
    """The roots of the spans, from all leaves."""
    return [tree_hash(leaves[start:end]) for start, end in inclusion_spans(index, len(leaves))]


def consistency_proof(leaves: list[bytes], size: int) -> list[bytes]:
    """The roots of the spans, from all leaves."""
    return [tree_hash(leaves[start:end]) for start, end in consistency_spans(size, len(leaves))]


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = largest_power(len(leaves))
    both = tree_hash(leaves[:split]) + tree_hash(leaves[split:])
    return hashlib.sha256(b"\1" + both).digest()


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    split = largest_power(len(leaves))
    if index < split:
        return [*path(index, leaves[:split]), tree_hash(leaves[split:])]
    return [*path(index - split, leaves[split:]), tree_hash(leaves[:split])]


def largest_power(size: int) -> int:
    """The largest power of two below a size, found by counting."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


@pytest.mark.parametrize("size", range(1, 65))
def test_an_inclusion_proof_is_that_of_the_rfc(size: int) -> None:
    """Every path of every small tree equals the recursive definition."""
    for index in range(size):
        expected = path(index, LEAVES[:size])
        assert expected == inclusion_proof(LEAVES[:size], index)


def test_the_published_example_of_the_rfc_comes_out() -> None:
    """RFC 9162 §2.1.5: the proofs in the tree of seven leaves are [b,h,l], [c,g,l], [f,j,k], [i,k].

    And those between its trees of 3, 4 and 6 leaves are [c,d,g,l], [l] and [i,j,k].
    """
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = tree_hash([a, b]), tree_hash([c, d]), tree_hash([e, f])
    k, l = tree_hash([a, b, c, d]), tree_hash([e, f, j])  # noqa: E741 (the RFC's names)
    found = [inclusion_proof(LEAVES[:7], index) for index in (0, 3, 4, 6)]
    assert [[b, h, l], [c, g, l], [f, j, k], [i, k]] == found
    steps = [consistency_proof(LEAVES[:7], size) for size in (3, 4, 6)]
    assert [[c, d, g, l], [l], [i, j, k]] == steps


@pytest.mark.parametrize("size", [*range(1, 301, 7), 255, 256, 257, 300])
def test_every_leaf_is_proven_and_no_other(size: int) -> None:
    """A proof convinces for its leaf, place and size, and for no neighbour."""
    for index in range(size):
        proof = inclusion_proof(LEAVES[:size], index)
        given = {"size": size, "proof": proof, "root": ROOTS[size]}
        assert verify_inclusion(leaf=LEAVES[index], index=index, **given)  # type: ignore[arg-type]
        assert not verify_inclusion(leaf=LEAVES[index - 1 or 299], index=index, **given)  # type: ignore[arg-type]
        other = (index + 1) % size
        assert size == 1 or not verify_inclusion(leaf=LEAVES[index], index=other, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("later", [*range(1, 301, 11), 255, 256, 257, 300])
def test_every_growth_is_proven(later: int) -> None:
    """Any earlier size is shown to be the beginning, and no other root is."""
    for size in range(1, later + 1):
        proof = consistency_proof(LEAVES[:later], size)
        given = {"size": size, "later_size": later, "proof": proof}
        assert verify_consistency(root=ROOTS[size], later_root=ROOTS[later], **given)  # type: ignore[arg-type]
        assert not verify_consistency(root=ROOTS[size - 1], later_root=ROOTS[later], **given)  # type: ignore[arg-type]
        assert not verify_consistency(root=ROOTS[size], later_root=ROOTS[later - 1], **given)  # type: ignore[arg-type]


@given(st.integers(1, 40), st.data())
def test_damaged_proof_is_refused(size: int, data: st.DataObject) -> None:
    """A hash exchanged, left out, added or cut short: the proof is refused and nothing crashes."""
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(LEAVES[:size], index)
    place = data.draw(st.integers(0, len(proof)))
    extra = data.draw(HASHES)
    damaged = [[*proof[:place], extra, *proof[place:]], [*proof, b""]]
    damaged += [[*proof[:place], *proof[place + 1 :]]] if place < len(proof) else []
    for wrong in damaged:
        assert not verify_inclusion(
            leaf=LEAVES[index], index=index, size=size, proof=wrong, root=ROOTS[size]
        )
    earlier = data.draw(st.integers(1, size))
    for wrong in ([*consistency_proof(LEAVES[:size], earlier), extra], [extra]):
        assert not verify_consistency(
            size=earlier, root=ROOTS[earlier], later_size=size, later_root=ROOTS[size], proof=wrong
        )


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_proof_outside_the_tree(index: int, size: int) -> None:
    """A place outside the tree is refused when proving and when verifying."""
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(LEAVES[:size], index)
    assert not verify_inclusion(leaf=LEAVES[0], index=index, size=size, proof=[], root=ROOTS[size])


@pytest.mark.parametrize("size", [-1, 0, 4])
def test_a_tree_has_not_grown_from_a_larger_or_an_empty_one(size: int) -> None:
    """The empty tree is the beginning of all and proves nothing; a larger one of none."""
    with pytest.raises(ValueError, match="invalid size"):
        consistency_proof(LEAVES[:3], size)
    assert not verify_consistency(
        size=size, root=ROOTS[3], later_size=3, later_root=ROOTS[3], proof=[]
    )


@pytest.mark.parametrize("mac", ['"', "\\", "\n", "é", "\0"])
def test_a_strange_mac_is_hashed_as_canonical_json(mac: str) -> None:
    """Whatever is written into the column, the leaf is that of the format."""
    import rfc8785  # noqa: PLC0415 (this one claim needs it)

    members = {"v": 1, "id": "1", "recorded_at": "a", "mac": mac}
    members["body_sha256"] = hashlib.sha256(b"b").hexdigest()
    expected = hashlib.sha256(b"\0" + rfc8785.dumps(members)).digest()  # type: ignore[arg-type]
    assert expected == hash_leaf(row_id=1, recorded_at="a", mac=mac, body="b")
