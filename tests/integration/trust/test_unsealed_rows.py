"""Findings of verify in rows that have no leaf yet."""

from __future__ import annotations

import pytest

from integration.trust.world import FOREIGN_MAC, Trail

SET = "UPDATE audit_event SET {} WHERE id = (SELECT max(id) FROM audit_event)"
OLD = {"sqlite": "id = 50", "postgresql": "xact_id = '3'"}
UNKNOWN = {"sqlite": "id = 50", "postgresql": "xact_id = NULL"}
CHANGES = {
    "no MAC": ("mac = NULL, mac_key_id = NULL", {"mac"}),
    "another MAC": ("mac = 'x'", {"mac"}),
    "another body": ("body = 'x'", {"mac", "body"}),
    "a column": ("actor_id = '1'", {"column"}),
    "old": ("{old}", {"unsealed"}),
    "of no transaction": ("{unknown}", {"unsealed"}),
    "old without MAC": ("mac = NULL, {old}", {"mac", "unsealed"}),
}


@pytest.fixture
def waiting(fresh: Trail) -> Trail:
    """A trail of three sealed rows, the last with an id of 100, and two that wait."""
    fresh.write(2)
    with fresh.attack() as attack:
        if fresh.engine.dialect.name == "sqlite":
            attack.run("UPDATE sqlite_sequence SET seq = 99 WHERE name = 'audit_event'")
            attack.connection.commit()
    fresh.write(1)
    fresh.seal()
    fresh.write(2)
    return fresh


def test_honest_rows_that_wait_are_counted(waiting: Trail) -> None:
    """Rows that the sealer has not reached are not findings."""
    report = waiting.report()
    assert (5, 2, []) == (report.rows, report.unsealed, report.findings)


@pytest.mark.parametrize("change", CHANGES)
def test_forged_row_without_a_leaf_is_found(waiting: Trail, change: str) -> None:
    """An unsealed row is checked as a sealed one, and named by its id."""
    assignments, kinds = CHANGES[change]
    name = waiting.engine.dialect.name
    with waiting.attack() as attack:
        attack.run(SET.format(assignments.format(old=OLD[name], unknown=UNKNOWN[name])))
        found = attack.found()
        assert kinds == {one.kind for one in found}
        assert {None} == {one.seq for one in found}
        assert all(one.row_id for one in found)


def test_waiting_row_of_a_foreign_key_is_found(waiting: Trail) -> None:
    """A MAC of another key is a finding before the row is sealed."""
    waiting.write(1, FOREIGN_MAC)
    assert ["mac"] == [one.kind for one in waiting.report().findings]
    waiting.seal()
    assert ["mac"] == [one.kind for one in waiting.report().findings]


def test_old_rows_of_a_long_backlog_are_no_findings(waiting: Trail) -> None:
    """While a backlog is sealed batch by batch, the rows behind the batch are not old."""
    waiting.write(7)
    waiting.sealer(batch=3).seal()
    report = waiting.report()
    assert (6, []) == (report.unsealed, report.findings)


@pytest.mark.parametrize("snapshot", ["x", "5", "9:5:", "1:2:x"])
def test_snapshot_that_cannot_be_read_is_found(waiting: Trail, snapshot: str) -> None:
    """A checkpoint whose snapshot was damaged is a finding, and no error of the reader."""
    if waiting.engine.dialect.name == "sqlite":
        return  # has none
    with waiting.attack() as attack:
        attack.run("UPDATE audit_checkpoint SET snapshot = :given", given=snapshot)
        assert {"checkpoint"} == attack.kinds()
