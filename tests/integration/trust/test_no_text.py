"""SQLite stores values of any type in any column: an unexpected type there is only a finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from auditspan.delivery.cursors import newest_checkpoint, newest_seq
from auditspan.reading import check_proof, prove_event, read_inclusion
from auditspan.storage import snapshot
from auditspan.telemetry.otlp.files import read_logs
from auditspan.verify.reconciliation import reconcile
from integration.trust.conftest import grown
from integration.trust.world import KEY, Trail

SOME = {"event_id": "'017f22e2-79b0-7cc3-98c4-dc0c0c07398f'"}
COPIED = (
    *("event_id", "recorded_at", "occurred_at", "actor_type", "action", "outcome"),
    *("tx_id", "body", "mac", "mac_key_id"),
)
TEXTS = ("event_id", "recorded_at", "tenant", "body", "mac", "mac_key_id")
BLOB, BROKEN, NUMBER = "CAST({} AS BLOB)", "CAST(x'c3ff' AS TEXT)", "7"
VALUES = {"BLOB": BLOB, "not UTF-8": BROKEN, "number": NUMBER}
KINDS = {
    "event_id": {"column"},
    "recorded_at": {"leaf"},
    "tenant": {"column"},
    "body": {"mac", "body", "leaf"},
    "mac": {"mac", "leaf"},
    "mac_key_id": {"mac"},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trail]:
    """Seven rows under three checkpoints, for attacks that are rolled back."""
    with grown("sqlite", tmp_path_factory.mktemp("trail"), 4, 1, 2) as made:
        yield made


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("column", [one for one in TEXTS if one != "tenant"])
def test_row_of_bytes_is_sealed_and_reported(tmp_path: Path, column: str, value: str) -> None:
    """A role that may insert can insert it: it is sealed and named, and those behind it are sent.

    It is sent itself, unless no record can be made of its body.
    """
    given = {**{one: one for one in COPIED}, **SOME}
    given[column] = VALUES[value].format(given[column])
    with grown("sqlite", tmp_path, 2) as trail:
        with trail.engine.begin() as connection:  # the guards are in place
            connection.exec_driver_sql(
                f"INSERT INTO audit_event ({', '.join(given)}) "  # noqa: S608 (no input)
                f"SELECT {', '.join(given.values())} FROM audit_event WHERE id = 1"
            )
        trail.grow(2)
        report = trail.report(witnessed=True)
        with snapshot(trail.engine) as connection:
            arrived = reconcile(connection, trail.tables, [trail.folder])
    assert (5, 0, {2}) == (
        report.tree_size,
        report.unsealed,
        {finding.seq for finding in report.findings},
    )
    unfit = int(column == "body")
    assert (5 - unfit, unfit) == (arrived.found, len(arrived.missing))


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("column", TEXTS)
def test_sealed_row_changed_to_bytes_is_found(kept: Trail, column: str, value: str) -> None:
    """Bytes that read like the text are another value than the text; there is no crash."""
    changed = VALUES[value].format(column)
    with kept.attack() as attack:
        attack.run(f"UPDATE audit_event SET {column} = {changed} WHERE id = 3")  # noqa: S608
        found = attack.found(witnessed=True)
    assert {(2, kind) for kind in KINDS[column]} == {(one.seq, one.kind) for one in found}


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ("audit_leaf SET leaf_hash = 'abc' WHERE seq = 2", {"leaf", "root"}),
        ("audit_leaf SET event_id = x'ff' WHERE seq = 2", {"column"}),
        ("audit_leaf SET row_id = 'abc' WHERE seq = 2", {"missing-row", "unsealed"}),
        ("audit_leaf SET seq = 'abc' WHERE seq = 2", {"gap", "root"}),
        ("audit_leaf SET seq = x'02' WHERE seq = 6", {"gap"}),
        ("audit_checkpoint SET root_hash = 'abc' WHERE tree_size = 5", {"root", "note"}),
        ("audit_checkpoint SET note = x'00' WHERE tree_size = 5", {"note"}),
        ("audit_checkpoint SET tree_size = 'abc' WHERE tree_size = 5", {"checkpoint", "note"}),
    ],
)
def test_leaves_and_checkpoints_of_another_type_are_named(
    kept: Trail, change: str, kinds: set[str]
) -> None:
    """A hash that is text, or a sequence number that is none, is a finding and no crash."""
    with kept.attack() as attack:
        attack.run(f"UPDATE {change}")
        assert kinds == attack.kinds()
        assert kinds <= attack.kinds(witnessed=True)


def test_proof_across_a_leaf_of_another_type_does_not_hold(kept: Trail) -> None:
    """The proof of another event is made, and checking it names the problem."""
    with kept.attack() as attack:
        attack.run("UPDATE audit_leaf SET leaf_hash = 'abc' WHERE seq = 2")
        connection, tables = attack.connection, kept.tables
        found = read_inclusion(connection, tables, 0)
        (event_id,) = attack.connection.execute(select(tables.event.c.event_id).limit(1)).one()
        proof = prove_event(connection, tables, event_id)
    assert found is not None
    assert not found.holds
    assert proof is not None
    problem = check_proof(proof.resource(), [KEY.public])
    assert "the event is not in the tree of the checkpoint" == problem


NUMBERS = {
    "a leaf's number": "UPDATE audit_leaf SET seq = 'x' WHERE seq = 1",
    "a leaf's fraction": "UPDATE audit_leaf SET seq = 1.5 WHERE seq = 1",
    "a leaf's row": "UPDATE audit_leaf SET row_id = 'x' WHERE seq = 1",
    "a checkpoint's size": "UPDATE audit_checkpoint SET tree_size = 'x' WHERE tree_size = 4",
    "another checkpoint": "INSERT INTO audit_checkpoint (tree_size, root_hash, frontier) "
    "VALUES ('x', x'00', x'00')",
}


@pytest.mark.parametrize("attack", NUMBERS)
def test_text_in_a_numeric_column_is_sealed_and_reported(tmp_path: Path, attack: str) -> None:
    """Later rows are sealed and sent, and verify names it."""
    with grown("sqlite", tmp_path, 4, 2) as trail:
        forge(trail, NUMBERS[attack])
        trail.grow(3)
        report = trail.report(witnessed=True)
        with trail.engine.connect() as connection:
            assert 8 == newest_seq(connection, trail.tables)
            point = newest_checkpoint(connection, trail.tables)
        sent = {entry.attributes.get("audit.sequence.number") for entry in read_logs(trail.folder)}
    assert {0, 1, 2, 3, 4, 5, 6, 7, 8} <= sent
    assert (9, 0) == (point.size if point else None, report.unsealed - (attack == "a leaf's row"))
    assert report.findings


@pytest.mark.parametrize(
    ("attack", "mended", "size"),
    [
        (
            "UPDATE audit_checkpoint SET tree_size = 'x' WHERE tree_size = 6",
            "UPDATE audit_checkpoint SET tree_size = 6 WHERE tree_size = 'x'",
            4,
        ),
        (
            "INSERT INTO audit_leaf (seq, row_id, event_id, leaf_hash) VALUES (8, -5, 'x', x'00')",
            "DELETE FROM audit_leaf WHERE seq = 8",
            6,
        ),
    ],
)
def test_leaves_behind_the_last_checkpoint_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, attack: str, mended: str, size: int
) -> None:
    """The sealer cannot go on from there: it says so once, and what to do."""
    with grown("sqlite", tmp_path, 4, 2) as trail:
        forge(trail, attack)
        trail.write(3)
        sealer = trail.sealer()
        assert [0, 0, 0] == [sealer.seal() for _ in range(3)]
        (said,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
        assert f"audit_checkpoint covers {size} leaves" in said
        forge(trail, mended)
        assert 3 == sealer.seal()


def forge(trail: Trail, statement: str) -> None:
    """Change the tables for good, with every right in them."""
    with trail.attack() as attack:
        attack.run(statement)
        attack.connection.commit()
