"""The Merkle tree: equal to RFC 6962, and the leaf of the format page."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from auditspan.tlog.merkle import Tree, hash_leaf, hash_node

#: The inputs and roots of the tests of Certificate Transparency (RFC 6962's reference code).
INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [hashlib.sha256(b"\0" + bytes.fromhex(text)).digest() for text in INPUTS]
MANY = [hashlib.sha256(str(n).encode()).digest() for n in range(300)]


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = tree_hash(leaves[:split]), tree_hash(leaves[split:])
    return hashlib.sha256(b"\1" + left + right).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_the_reference_vectors(size: int) -> None:
    """The published roots come out for the published leaves."""
    expected = ROOTS[size - 1]
    assert expected == tree_hash(LEAVES[:size]).hex() == Tree().append(LEAVES[:size]).root.hex()


def test_every_size_to_300_equals_the_recursive_definition() -> None:
    """Grown one leaf at a time, dumped and loaded at every step, the root is that of the RFC."""
    tree = Tree()
    for size, leaf in enumerate(MANY, start=1):
        tree = Tree.load(tree.size, tree.dump()).append([leaf])
        assert (size, tree_hash(MANY[:size])) == (tree.size, tree.root)
        assert len(tree.dump()) == 32 * size.bit_count()


@given(st.lists(st.integers(0, 40), max_size=8))
def test_the_root_does_not_depend_on_the_batches(batches: list[int]) -> None:
    """Any division of the leaves into batches, empty ones too, gives the same tree."""
    tree, taken = Tree(), 0
    for size in batches:
        tree = tree.append(iter(MANY[taken : taken + size]))
        taken = min(taken + size, len(MANY))
    assert Tree().append(MANY[:taken]) == tree
    assert Tree.load(tree.size, tree.dump()) == tree


def test_appending_leaves_the_tree_before_as_it_was() -> None:
    """A tree is a value: a failed batch cannot have changed it."""
    before = Tree().append(MANY[:5])
    root = before.root
    before.append(MANY[5:9])
    assert (5, root) == (before.size, before.root)


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    """RFC 6962 §2.1: the hash of an empty list is the hash of the empty string."""
    assert hashlib.sha256().digest() == Tree().root


def test_a_node_is_not_a_leaf() -> None:
    """Nodes carry the prefix 0x01, so that no node passes for a leaf."""
    left, right = MANY[:2]
    assert hashlib.sha256(b"\1" + left + right).digest() == hash_node(left, right)


@given(
    st.integers(1, 2**63 - 1),
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_the_leaf_is_that_of_the_format(row_id: int, mac: str, body: str) -> None:
    """SHA256(0x00 ‖ JCS of version, id, time, MAC and hash of the body)."""
    recorded_at = "2026-01-01T00:00:00.000001Z"
    members: Any = {
        "v": 1,
        "id": str(row_id),
        "recorded_at": recorded_at,
        "mac": mac,
        "body_sha256": hashlib.sha256(body.encode()).hexdigest(),
    }
    expected = hashlib.sha256(b"\0" + rfc8785.dumps(members)).digest()
    assert expected == hash_leaf(row_id=row_id, recorded_at=recorded_at, mac=mac, body=body)


def test_every_part_of_a_row_counts_in_its_leaf() -> None:
    """Another id, time, MAC or body is another leaf; no MAC is not an empty one."""
    row = {"row_id": 1, "recorded_at": "a", "mac": "b", "body": "c"}
    others = [row | {name: 2 if name == "row_id" else "x"} for name in row]
    others += [row | {"mac": None}, row | {"mac": ""}]
    assert len({hash_leaf(**fields) for fields in [row, *others]}) == 7  # type: ignore[arg-type]
