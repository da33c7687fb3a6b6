"""A trail that began without a MAC key gets one, and what `verify` says of the rows from before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select
from sqlalchemy.orm import sessionmaker

from auditspan import Actor, AuditConfigError, AuditTrail, MacKey, Target, audit_context
from auditspan.format.key_addition import KEY_ADDED, TARGET, KeyAddition
from auditspan.storage import snapshot
from auditspan.storage.keys import load_mac_keys, load_or_create_erasure_keys, rotate_mac_key
from auditspan.storage.leaves import sealed_leaves
from auditspan.storage.tables import audit_tables
from auditspan.storage.unkeyed import CoveredRows
from auditspan.tlog.merkle import hash_leaf
from auditspan.verify.trail import verify_trail
from auditspan_service.cli import main
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from auditspan_service.models import Base, User
from integration.trust.world import FOREIGN_MAC, KEY, MAC, Trail, sizes_on

SIZE = 5


@pytest.fixture
def late(fresh: Trail) -> Trail:
    """Five sealed rows without a MAC under two checkpoints, and then two with one."""
    for count in (2, 3):
        fresh.write(count, None)
        fresh.seal()
    fresh.write(2)
    fresh.seal()
    return fresh


def cover(trail: Trail, key: MacKey | None = MAC, **options: Any) -> CoveredRows | None:
    """Cover the rows without a MAC as an application with this key does."""
    sessions = sessionmaker(trail.engine)
    made = AuditTrail(sessions, metadata=trail.tables.event.metadata, mac_key=key)
    with audit_context(actor=Actor.system("test")), sessions.begin() as session:
        return made.cover_rows_without_mac(session, **options)


def forge(trail: Trail, metadata: Mapping[str, Any], key: MacKey = MAC) -> None:
    """Record an event of the action as a caller of the API can, under this key."""
    sessions = sessionmaker(trail.engine)
    made = AuditTrail(sessions, metadata=trail.tables.event.metadata, mac_key=key)
    with audit_context(actor=Actor.system("test")), sessions.begin() as session:
        target = Target(type=TARGET[0], id=TARGET[1])
        made.record(session, KEY_ADDED, target=target, metadata=dict(metadata))


def found(trail: Trail, *keys: MacKey, since: int = 0) -> list[tuple[str, int | None]]:
    """Kinds and places of what `verify` finds with these MAC keys."""
    with snapshot(trail.engine) as connection:
        report = verify_trail(connection, trail.tables, keys or (MAC,), [KEY.public], since=since)
    return [(one.kind, one.seq) for one in report.findings]


BEFORE = [("mac", seq) for seq in range(SIZE)]


def test_finding_for_a_row_without_a_mac_names_the_command(late: Trail) -> None:
    """Each is a finding, whose text names the command."""
    assert BEFORE == found(late)
    assert ["auditspan keys cover" in one.detail for one in late.report().findings] == [True] * SIZE


def test_covered_rows_are_no_finding(late: Trail) -> None:
    """Neither before the record is sealed nor afterwards, nor when more rows follow."""
    assert SIZE == getattr(cover(late), "size", None)
    assert [] == found(late)
    late.write(2)
    late.seal()
    assert [] == found(late)
    assert [] == found(late, since=SIZE + 1)


def test_a_later_row_without_a_mac_is_found(late: Trail) -> None:
    """The record covers what was sealed before it, and nothing else."""
    cover(late)
    late.write(1, None)
    assert [("mac", None)] == found(late)
    late.seal()
    assert [("mac", SIZE + 3)] == found(late)


def test_a_mac_that_was_removed_is_found(late: Trail) -> None:
    """A row that had a MAC must keep it, also when everything is sealed again."""
    cover(late)
    late.seal()
    with late.attack() as attack:
        one = next(iter(list(sealed_leaves(attack.connection, late.tables, SIZE))))
        hashed = hash_leaf(
            row_id=one.row_id, recorded_at=str(one.recorded_at), mac=None, body=str(one.body)
        )
        removed = "UPDATE audit_event SET mac = NULL, mac_key_id = NULL WHERE id = :id"
        attack.run(removed, id=one.row_id)
        changed = "UPDATE audit_leaf SET leaf_hash = :hashed WHERE seq = :seq"
        attack.run(changed, hashed=hashed, seq=SIZE)
        attack.seal_again(sizes_on(attack.connection, late.tables))
        assert [("mac", SIZE)] == [(one.kind, one.seq) for one in attack.found()]


@pytest.mark.parametrize("seq", [0, SIZE - 1])
def test_a_covered_row_that_is_rewritten_is_found(late: Trail, seq: int) -> None:
    """The record holds the root, so that even the signing key does not help."""
    cover(late)
    late.seal()
    with late.attack() as attack:
        one = next(iter(list(sealed_leaves(attack.connection, late.tables, seq))))
        body = str(one.body).replace('"kim"', '"eve"')
        hashed = hash_leaf(row_id=one.row_id, recorded_at=str(one.recorded_at), mac=None, body=body)
        attack.run("UPDATE audit_event SET body = :body WHERE id = :id", body=body, id=one.row_id)
        changed = "UPDATE audit_leaf SET leaf_hash = :hashed WHERE seq = :seq"
        attack.run(changed, hashed=hashed, seq=seq)
        attack.seal_again(sizes_on(attack.connection, late.tables))
        assert [("mac", SIZE - 1)] == [(one.kind, one.seq) for one in attack.found()]


def test_covered_rows_that_were_taken_away_are_found(late: Trail) -> None:
    """A trail shorter than the record says is a finding, where only that record is left."""
    cover(late)
    with late.attack() as attack:
        attack.run(
            "DELETE FROM audit_event WHERE id IN (SELECT row_id FROM audit_leaf WHERE seq >= 2)",
            "DELETE FROM audit_leaf WHERE seq >= 2",
        )
        attack.seal_again([2])
        assert ("mac", SIZE - 1) in [(one.kind, one.seq) for one in attack.found()]


def test_deleting_the_record_is_found(late: Trail) -> None:
    """The rows from before are findings again, although everything was sealed again."""
    cover(late)
    late.seal()
    with late.attack() as attack:
        attack.cut(SIZE + 2)
        kinds = [(one.kind, one.seq) for one in attack.found() if one.kind == "mac"]
    assert BEFORE == kinds


def statement(trail: Trail) -> KeyAddition:
    """The statement that would cover the rows of the trail."""
    with trail.engine.connect() as connection:
        root = connection.execute(
            select(trail.tables.checkpoint.c.root_hash).where(
                trail.tables.checkpoint.c.tree_size == SIZE
            )
        ).scalar_one()
    return KeyAddition(size=SIZE, root=root)


FORGERIES: dict[str, Callable[[KeyAddition], Mapping[str, Any]]] = {
    "no proof": lambda one: {"size": one.size, "root": one.root.hex()},
    "foreign proof": lambda one: one.metadata(FOREIGN_MAC),
    "other size": lambda one: one.metadata(MAC) | {"size": one.size + 1},
    "no size": lambda one: one.metadata(MAC) | {"size": None},
    "no root": lambda one: one.metadata(MAC) | {"root": "x"},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_record_made_through_the_api_covers_nothing(late: Trail, forgery: str) -> None:
    """A MAC over the body alone proves nothing: every program that may record events gets one."""
    forge(late, FORGERIES[forgery](statement(late)))
    late.seal()
    assert BEFORE == found(late)


def test_a_record_under_a_foreign_key_covers_nothing(late: Trail) -> None:
    """It is a finding itself."""
    forge(late, statement(late).metadata(FOREIGN_MAC), FOREIGN_MAC)
    late.seal()
    assert [*BEFORE, ("mac", SIZE + 2)] == found(late)


def test_a_record_whose_mac_was_changed_covers_nothing(late: Trail) -> None:
    """The proof alone is not enough: the record must be whole."""
    cover(late)
    late.seal()
    with late.attack() as attack:
        changed = "UPDATE audit_event SET mac = :mac WHERE action = 'trail.key_added'"
        attack.run(changed, mac="0" * 64)
        places = [one.seq for one in attack.found() if one.kind == "mac"]
    assert [*range(SIZE), SIZE + 2] == places


def test_a_false_mac_among_covered_rows_is_found(fresh: Trail) -> None:
    """Rows without a MAC are covered, and those under a key must be under a known one."""
    for key in (None, FOREIGN_MAC, None):
        fresh.write(1, key)
    fresh.seal()
    cover(fresh, later=True)
    assert [("mac", 1)] == found(fresh)


def test_a_record_of_other_rows_is_found(late: Trail) -> None:
    """A true record of another trail, put here, does not fit the leaves."""
    other = KeyAddition(size=SIZE, root=bytes(32))
    forge(late, other.metadata(MAC))
    late.seal()
    assert [("mac", SIZE - 1)] == found(late)


def test_the_record_holds_after_the_key_was_changed(late: Trail) -> None:
    """Its key must stay at hand, as for all rows."""
    cover(late)
    second = MacKey.from_secret(bytes([7] * 32))
    late.write(1, second)
    late.seal()
    assert [] == found(late, second, MAC)
    assert None is cover(late, second, earlier_keys=[MAC])
    assert BEFORE == [one for one in found(late, second) if (one[1] or 0) < SIZE]


def test_covering_again_changes_nothing(late: Trail) -> None:
    """No second record is made where nothing is left to cover."""
    cover(late)
    assert None is cover(late)
    late.seal()
    assert (None, SIZE + 3) == (cover(late), late.report().rows)


def test_rows_behind_a_row_with_a_mac_are_not_covered_unasked(late: Trail) -> None:
    """An attacker may have inserted them; `later` covers them all the same."""
    cover(late)
    late.write(1, None)
    late.seal()
    with pytest.raises(AuditConfigError, match="1 sealed row without a MAC after"):
        cover(late)
    again = cover(late, later=True)
    assert (1, SIZE + 4) == (getattr(again, "rows", None), getattr(again, "size", None))
    assert [] == found(late)


def test_rows_that_are_not_sealed_are_not_covered(late: Trail) -> None:
    """A process without the key may still be writing."""
    late.write(2, None)
    with pytest.raises(AuditConfigError, match="2 rows without a MAC not sealed yet"):
        cover(late)


def test_changed_rows_are_not_covered(late: Trail) -> None:
    """Findings of `verify` without a key have to be resolved first."""
    with late.attack() as attack:
        attack.run("UPDATE audit_event SET body = replace(body, 'kim', 'eve') WHERE id = 1")
        attack.connection.commit()
    with pytest.raises(AuditConfigError, match="do not match the last checkpoint"):
        cover(late)


def test_a_trail_without_a_key_covers_nothing(late: Trail) -> None:
    """There is nothing to prove it with."""
    with pytest.raises(AuditConfigError, match="no MAC key"):
        cover(late, None)


def command(folder: Path, *arguments: str) -> Result:
    """Run a command of `auditspan` on the trail in this folder."""
    return CliRunner().invoke(main, list(arguments), env={"AUDITSPAN_DATA_DIR": str(folder)})


def test_the_command_covers_rows_of_the_service(tmp_path: Path) -> None:
    """`verify` is exit code 1 before it and 0 after it, with --state and a second key as well."""
    engine = make_engine(f"sqlite:///{tmp_path / 'auditspan.db'}")
    upgrade(engine)
    sessions = sessionmaker(engine)
    keys = load_or_create_erasure_keys(tmp_path / "keys" / "erasure.key", create=True)
    AuditTrail(sessions, metadata=Base.metadata, mac_key=None, erasure_key=keys)
    with audit_context(actor=Actor.system("test")), sessions.begin() as session:
        session.add(User(username="kim", full_name="Kim", email="kim@example.org"))
    trail = Trail(engine=engine, folder=tmp_path / "collector")
    trail.tables = audit_tables(Base.metadata)
    trail.seal()
    command(tmp_path, "keys", "init")
    (tmp_path / "keys" / "signing.key").write_text(f"{KEY.dump()}\n")
    before = command(tmp_path, "verify", "--state")
    covered = command(tmp_path, "keys", "cover", "--json", "--reason", "moved in")
    again = command(tmp_path, "keys", "cover")
    trail.seal()
    after = command(tmp_path, "verify", "--state")
    rotate_mac_key(tmp_path / "keys" / "mac.key")
    rotated = command(tmp_path, "verify", "--state")
    shown = command(tmp_path, "show", "--json", json.loads(covered.stdout)["event_id"])
    engine.dispose()
    assert 2 == len(load_mac_keys(tmp_path / "keys" / "mac.key"))
    assert (1, 0, 0, 0, 0) == tuple(
        one.exit_code for one in (before, covered, again, after, rotated)
    ), (before.output, covered.output, again.output, after.output)
    assert (1, 1) == tuple(json.loads(covered.stdout)[name] for name in ("rows", "size"))
    assert "Nothing to cover" in again.stdout
    assert ("trail.key_added", "moved in") == tuple(
        json.loads(shown.stdout)[name] for name in ("action", "reason")
    )
