"""The verifier: every way of tampering is found, and a clean trail has no finding."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import auditspan.verify.steps
from auditspan.cli.commands.verify import verify as command
from auditspan.format import Keyring, MacKey
from auditspan.format.columns import COLUMNS, derived_columns
from auditspan.format.record import AuditRecord
from auditspan.format.record_parts import Actor, Service, Target
from auditspan.format.rows import SealedLeaf
from auditspan.tlog.merkle import Tree, hash_leaf
from auditspan.verify.finding import Finding
from auditspan.verify.pieces import checked_pieces
from auditspan.verify.row_check import RowCheck
from auditspan.verify.steps import Verifier

KEY = MacKey.from_secret(bytes(range(32)))
FOREIGN = MacKey.from_secret(bytes(32))
SIZE = 12
CHECKPOINTS = (1, 5, 8, SIZE)
START = datetime(2026, 1, 1, tzinfo=UTC)
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
Leaves = list[SealedLeaf]
Roots = dict[int, bytes]


@dataclass(frozen=True)
class Trail:
    """Leaves with the roots of their checkpoints."""

    leaves: Leaves
    roots: Roots

    def findings(self, key: MacKey | None = KEY) -> list[Finding]:
        """Return the findings of the verifier."""
        pieces = checked_pieces(self.leaves, RowCheck(keys=Keyring(key)))
        return list(Verifier(roots=self.roots).check(pieces))


def row(number: int) -> SealedLeaf:
    """A row as the application writes it, under our key."""
    record = AuditRecord(
        event_id=f"017f22e2-79b0-7cc3-98c4-{number:012x}",
        occurred_at=START + timedelta(seconds=number),
        action="user.update",
        actor=Actor.user(number),
        tx_id=f"tx-{number}",
        service=Service(name="shop"),
        target=Target(type="user", id=str(number), version=1),
        changes={"n": {"old": number, "new": number + 1}},
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        tenant="acme",
    )
    body = record.body()
    leaf = SealedLeaf(
        seq=number,
        row_id=10 + 3 * number,
        event_id=record.event_id,
        leaf_hash=b"",
        recorded_at=f"2026-01-01T00:00:{number:02}.000001Z",
        body=body,
        mac=KEY.sign(body),
        mac_key_id=KEY.key_id,
        columns=derived_columns(json.loads(body)),
    )
    return hashed(leaf)


def hashed(leaf: SealedLeaf) -> SealedLeaf:
    """Return the leaf with the hash of its row, as an attacker who rewrites the table makes it."""
    assert leaf.body is not None
    assert leaf.recorded_at is not None
    made = hash_leaf(row_id=leaf.row_id, recorded_at=leaf.recorded_at, mac=leaf.mac, body=leaf.body)
    return leaf._replace(leaf_hash=made)


def rooted(leaves: Iterable[SealedLeaf]) -> Roots:
    """The roots of the checkpoints over these leaves."""
    hashes = [leaf.leaf_hash for leaf in leaves]
    return {size: Tree().append(hashes[:size]).root for size in CHECKPOINTS}


def rewritten(leaf: SealedLeaf, body: str, key: MacKey | None) -> SealedLeaf:
    """The row with another body and all that follows from it, signed by `key`."""
    members: Any = json.loads(body)
    return hashed(
        leaf._replace(
            body=body,
            mac=key.sign(body) if key else None,
            mac_key_id=key.key_id if key else None,
            columns=derived_columns(members),
        )
    )


LEAVES = [row(number) for number in range(SIZE)]
CLEAN = Trail(LEAVES, rooted(LEAVES))
POSITIONS = pytest.mark.parametrize("at", [0, 4, SIZE - 1], ids=["first", "middle", "last"])


def with_leaf(at: int, leaf: SealedLeaf) -> Trail:
    """The clean trail with one leaf exchanged."""
    return Trail([*LEAVES[:at], leaf, *LEAVES[at + 1 :]], CLEAN.roots)


@pytest.mark.parametrize("key", [KEY, None], ids=["key", "no key"])
def test_a_clean_trail_has_no_finding(key: MacKey | None) -> None:
    """Rows of the application have no finding, with the key or without it."""
    assert [] == CLEAN.findings(key)


EDITS: dict[str, Callable[[SealedLeaf], dict[str, Any]]] = {
    "row gone": lambda _: {"body": None},
    "body": lambda leaf: {"body": str(leaf.body).replace('"n":', '"m":')},
    "body not canonical": lambda leaf: {"body": str(leaf.body) + " "},
    "body no JSON": lambda _: {"body": "{"},
    "body empty": lambda _: {"body": ""},
    "body no object": lambda _: {"body": "[]"},
    "body too deep": lambda _: {"body": "[" * 100_000 + "]" * 100_000},
    "recorded_at": lambda _: {"recorded_at": "2026-01-01T00:00:00.000002Z"},
    "recorded_at gone": lambda _: {"recorded_at": None},
    "mac": lambda leaf: {"mac": FOREIGN.sign(str(leaf.body))},
    "mac not ASCII": lambda _: {"mac": "é" * 64},
    "mac gone": lambda _: {"mac": None},
    "mac empty": lambda _: {"mac": ""},
    "key id": lambda _: {"mac_key_id": FOREIGN.key_id},
    "key id gone": lambda _: {"mac_key_id": None},
    "leaf": lambda leaf: {"leaf_hash": leaf.leaf_hash[::-1]},
    "leaf cut": lambda leaf: {"leaf_hash": leaf.leaf_hash[:31]},
    "leaf empty": lambda _: {"leaf_hash": b""},
    "row id": lambda leaf: {"row_id": leaf.row_id + 1},
    "event id": lambda _: {"event_id": "017f22e2-79b0-7cc3-98c4-ffffffffffff"},
}


@POSITIONS
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_one_field_is_found(edit: str, at: int) -> None:
    """Whatever is changed of a row or leaf, a finding names its place."""
    findings = with_leaf(at, LEAVES[at]._replace(**EDITS[edit](LEAVES[at]))).findings()
    assert at in {finding.seq for finding in findings}


@POSITIONS
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", ["x", "", None])
def test_an_edit_of_a_plain_column_is_found(column: str, value: str | None, at: int) -> None:
    """A column that does not say what the body says is a finding of that row."""
    columns = dict(zip(COLUMNS, LEAVES[at].columns, strict=True)) | {column: value}
    edited = LEAVES[at]._replace(columns=tuple(columns.values()))
    findings = with_leaf(at, edited).findings()
    assert {("column", at, LEAVES[at].row_id)} == {(f.kind, f.seq, f.row_id) for f in findings}
    assert column in findings[0].detail


def test_the_plain_columns_are_those_of_the_table() -> None:
    """Every column that design §4.4 derives from the body is recomputed."""
    derived = {"event_id", "occurred_at", "actor_type", "actor_id", "action", "outcome"}
    derived |= {"target_type", "target_id", "trace_id", "span_id", "tx_id", "tenant"}
    assert derived == set(COLUMNS)


ARRANGEMENTS: dict[str, Callable[[int], Leaves]] = {
    "deleted": lambda at: [*LEAVES[:at], *LEAVES[at + 1 :]],
    "range deleted": lambda at: [*LEAVES[: max(at - 2, 0)], *LEAVES[at + 1 :]],
    "doubled": lambda at: [*LEAVES[: at + 1], *LEAVES[at:]],
    "swapped": lambda at: [*LEAVES[: at - 1], LEAVES[at], LEAVES[at - 1], *LEAVES[at + 1 :]],
    "number skipped": lambda at: [
        *LEAVES[:at],
        *(leaf._replace(seq=leaf.seq + 1) for leaf in LEAVES[at:]),
    ],
    "all gone": lambda _: [],
}


@POSITIONS
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("renumbered", [False, True])
def test_another_arrangement_is_found(arrangement: str, at: int, *, renumbered: bool) -> None:
    """Deleted, doubled and reordered leaves are found, also when the rest is renumbered."""
    leaves = ARRANGEMENTS[arrangement](at or (1 if arrangement == "swapped" else 0))
    if renumbered and arrangement != "number skipped":
        leaves = [leaf._replace(seq=seq) for seq, leaf in enumerate(leaves)]
    assert Trail(leaves, CLEAN.roots).findings()


@POSITIONS
@pytest.mark.parametrize("key", [FOREIGN, None], ids=["other key", "no MAC"])
def test_a_history_rewritten_without_our_key_is_found(at: int, key: MacKey | None) -> None:
    """Body, columns, leaves and roots rewritten alike: the MAC cannot be, and that is found.

    Not by putting another key's id beside it, and not by leaving the MAC out.
    """
    body = str(LEAVES[at].body).replace('"old":', '"older":')
    leaves = [*LEAVES[:at], rewritten(LEAVES[at], body, key), *LEAVES[at + 1 :]]
    findings = Trail(leaves, rooted(leaves)).findings()
    assert {("mac", at)} == {(finding.kind, finding.seq) for finding in findings}


@pytest.mark.parametrize(
    ("size", "root", "kind"),
    [
        (5, bytes(32), "root"),
        (5, b"", "root"),
        (SIZE, CLEAN.roots[8], "root"),
        (SIZE + 1, CLEAN.roots[SIZE], "checkpoint"),
        (10**12, CLEAN.roots[SIZE], "checkpoint"),
    ],
)
def test_a_wrong_checkpoint_is_found(size: int, root: bytes, kind: str) -> None:
    """A root that is not the tree's, or of a tree that is not there, is a finding."""
    findings = Trail(LEAVES, CLEAN.roots | {size: root}).findings()
    assert [kind] == [finding.kind for finding in findings]


@pytest.mark.parametrize("kept", [0, 3], ids=["all", "the last"])
def test_leaves_without_a_checkpoint_over_them_are_found(kept: int) -> None:
    """Leaves and their checkpoint are one transaction: where it is missing, it was taken away."""
    roots = {size: CLEAN.roots[size] for size in CHECKPOINTS[:kept]}
    assert Trail(LEAVES, roots).findings()


def test_a_checkpoint_of_no_leaves_is_checked_too() -> None:
    """The root of the empty tree is the hash of nothing."""
    assert [] == Trail(LEAVES, CLEAN.roots | {0: Tree().root}).findings()
    assert Trail(LEAVES, CLEAN.roots | {0: bytes(32)}).findings()


@pytest.mark.parametrize(
    "body",
    ["null", "1", '"a"', "[1]", "{}", '{"v":1}', '{"v":1,"v":1}', '{"actor":[],"v":1}', "NaN"],
)
def test_invalid_body_is_a_finding(body: str) -> None:
    """Anyone who can write to the table can write anything into it; the verifier continues."""
    leaf = hashed(LEAVES[4]._replace(body=body, mac=KEY.sign(body)))
    assert 4 in {finding.seq for finding in with_leaf(4, leaf).findings()}


@given(st.integers(0, SIZE - 1), st.data())
def test_any_changed_character_is_found(at: int, data: st.DataObject) -> None:
    """One character of a body, anywhere, by anything else."""
    body = str(LEAVES[at].body)
    place = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.characters(exclude_categories=["Cs"]).filter(lambda c: c != body[place]))
    changed = body[:place] + other + body[place + 1 :]
    assert with_leaf(at, LEAVES[at]._replace(body=changed)).findings()


def test_the_help_lists_the_steps_of_the_verifier() -> None:
    """The module and the command number the same steps."""
    numbered = re.compile(r"^ *([0-9]+)\. ", re.MULTILINE)
    listed = numbered.findall(str(auditspan.verify.steps.__doc__))
    assert [str(step) for step in range(1, 14)] == listed
    assert listed == numbered.findall(str(command.help))
