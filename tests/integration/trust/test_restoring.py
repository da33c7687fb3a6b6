"""The trail goes on from an older backup: no size is signed twice, and the loss stays visible."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from auditspan.delivery.sinks import AUDIT_FILE
from auditspan.seal.last_signed import LastSignedFile
from auditspan.seal.sealer import Sealer
from auditspan.storage import snapshot
from auditspan.storage.keys import last_signed_file, load_or_create_erasure_keys
from auditspan.tlog.checkpoint import sign_checkpoint
from auditspan.tlog.merkle import Tree
from auditspan.tlog.note import Checkpoint, open_note
from auditspan.verify.witness import read_witness
from auditspan_service.cli import main
from auditspan_service.database.schema import upgrade
from integration.trust.backups import dumped, older
from integration.trust.conftest import grown
from integration.trust.world import KEY, MAC, Trail, ours

LOG = KEY.name


def remembering(trail: Trail, folder: Path) -> None:
    """Let the sealers of a trail remember in a file of this folder."""
    trail.last_signed = LastSignedFile(folder / "signing.key.last", log=LOG)


def origins(trail: Trail) -> dict[int, str]:
    """The origin of every checkpoint of the table, by its size."""
    statement = text("SELECT tree_size, note FROM audit_checkpoint ORDER BY tree_size")
    with snapshot(trail.engine) as connection:
        notes = [(row.tree_size, row.note) for row in connection.execute(statement)]
    said = {size: Checkpoint.parse(open_note(note, [KEY.public]).text) for size, note in notes}
    assert all(size == one.size for size, one in said.items())
    return {size: one.origin for size, one in said.items()}


def lost(trail: Trail) -> list[tuple[str, int | None]]:
    """Return the findings of the verifier with the witness; without it, there are none."""
    assert [] == trail.report().findings
    return [(one.kind, one.seq) for one in trail.report(witnessed=True).findings]


def no_size_is_signed_twice(trail: Trail) -> bool:
    """Return whether all checkpoints of the witness under one origin can be true at once."""
    seen = read_witness([trail.folder], [KEY.public]).checkpoints
    return len(seen) == len({(one.origin, one.size) for one in seen})


@pytest.mark.parametrize("later", [(1,), (2, 30)], ids=["shorter", "longer"])
def test_the_sealer_notices_by_itself(
    fresh: Trail, tmp_path: Path, caplog: pytest.LogCaptureFixture, later: tuple[int, ...]
) -> None:
    """The last signed note is ahead of the table, so the trail continues as another incarnation.

    Its checkpoints are accepted, and the witness of the one before shows from where rows are lost.
    """
    remembering(fresh, tmp_path)
    fresh.grow(4, 1)
    with dumped(fresh, tmp_path) as restored:
        fresh.grow(6, 5)
        restored.last_signed = fresh.last_signed
        restored.written = 1000  # other rows than those that are lost
        with caplog.at_level(logging.ERROR):
            restored.grow(*later)
        sizes = [5 + sum(later[: place + 1]) for place in range(len(later))]
        assert {
            **dict.fromkeys((4, 5), f"{LOG}/1"),
            **dict.fromkeys(sizes, f"{LOG}/2"),
        } == origins(restored)
        assert [("tail", 5)] == lost(restored)
        assert no_size_is_signed_twice(restored)
        (said,) = ours(caplog)
        assert "16 leaves were signed as auditspan/test/1, but the table has 5" in said.getMessage()


def test_without_a_memory_it_would_be_signed_twice(fresh: Trail, tmp_path: Path) -> None:
    """The table alone does not show that it is older, so there is a file."""
    fresh.grow(4)
    with older(fresh, tmp_path) as restored:
        fresh.grow(3)
        restored.written = 1000
        restored.grow(3)
        assert not no_size_is_signed_twice(restored)
        assert [("rewritten", 4)] == lost(restored)


def test_the_files_written_since_are_whole(fresh: Trail, tmp_path: Path) -> None:
    """Verification succeeds with the earlier files put aside and a note about the restore."""
    remembering(fresh, tmp_path)
    fresh.grow(4)
    with older(fresh, tmp_path) as restored:
        fresh.grow(6)
        shutil.move(restored.folder / AUDIT_FILE, tmp_path / "before.jsonl")
        restored.last_signed, restored.written = fresh.last_signed, 1000
        restored.grow(2, 3)
        assert [] == lost(restored)
        seen = read_witness([restored.folder], [KEY.public]).checkpoints
        assert [(f"{LOG}/2", 6), (f"{LOG}/2", 9)] == [(one.origin, one.size) for one in seen[-2:]]


def test_two_restores_are_two_incarnations(fresh: Trail, tmp_path: Path) -> None:
    """Each loss has a finding, also when both times the same backup was restored."""
    remembering(fresh, tmp_path)
    fresh.grow(4)
    with older(fresh, tmp_path) as first, dumped(fresh, tmp_path) as second:
        fresh.grow(6)
        for number, trail in enumerate((first, second), start=1):
            trail.last_signed, trail.written = fresh.last_signed, 1000 * number
        first.grow(2, 9)
        second.grow(1, 20)
        assert {4: f"{LOG}/1", 5: f"{LOG}/3", 25: f"{LOG}/3"} == origins(second)
        assert [("tail", 4), ("tail", 4)] == lost(second)
        assert no_size_is_signed_twice(second)


def test_trail_that_was_not_restored_keeps_its_name(fresh: Trail, tmp_path: Path) -> None:
    """Whatever the file has missed: it may be another worker's, behind, or not there."""
    remembering(fresh, tmp_path)
    fresh.grow(4, 2)
    behind = LastSignedFile(tmp_path / "other.last", log=LOG)
    with snapshot(fresh.engine) as connection:
        first = connection.scalar(text("SELECT note FROM audit_checkpoint WHERE tree_size = 4"))
    behind.remember(str(first))
    for memory in (fresh.last_signed, behind, LastSignedFile(tmp_path / "none.last", log=LOG)):
        fresh.last_signed = memory
        fresh.grow(1)
    assert {f"{LOG}/1"} == set(origins(fresh).values())
    assert [] == lost(fresh)


TREE = Tree().append([bytes(32)] * 5)
OTHER = Tree().append([bytes([1]) * 32] * 5)


@pytest.mark.parametrize(
    ("signed", "tree", "incarnation", "expected"),
    [
        ((TREE, 1), TREE, 1, 1),
        ((TREE, 1), TREE.append([bytes(32)]), 1, 1),
        ((TREE, 1), OTHER, 1, 2),
        ((TREE, 1), Tree(), 1, 2),
        ((TREE, 3), OTHER.append([bytes(32)]), 1, 4),
        ((TREE, 1), Tree(), 2, 2),
        ((TREE, 3), TREE, 3, 3),
    ],
    ids=["same", "grown", "another", "emptied", "older", "newer", "same of a later one"],
)
def test_restored_trail_continues_under_a_new_incarnation(
    tmp_path: Path, signed: tuple[Tree, int], tree: Tree, incarnation: int, expected: int
) -> None:
    """The last signed tree exists, or precedes the present one; else a new incarnation follows.

    Another process reads the same from the file.
    """
    path = tmp_path / "last"
    first = LastSignedFile(path, log=LOG)
    first.remember(sign_checkpoint(KEY, *signed))
    for memory in (first, LastSignedFile(path, log=LOG)):
        assert expected == memory.incarnation(tree, incarnation)
    assert incarnation == LastSignedFile(path, log="auditspan/other").incarnation(tree, incarnation)


@pytest.mark.parametrize("content", [b"", b"no note", b"\xff\xfe", b"a/1\n5\nAA==\n\n"])
def test_damaged_last_signed_file_does_not_stop_the_sealer(tmp_path: Path, content: bytes) -> None:
    """The check is left out; the next checkpoint makes the file anew."""
    path = tmp_path / "last"
    path.write_bytes(content)
    memory = LastSignedFile(path, log=LOG)
    assert (None, 1) == (memory.last(), memory.incarnation(Tree(), 1))
    memory.remember(sign_checkpoint(KEY, TREE, 1))
    assert 2 == LastSignedFile(path, log=LOG).incarnation(Tree(), 1)
    assert ["last"] == [file.name for file in tmp_path.iterdir()]


def test_read_only_directory_is_replaced_by_memory(tmp_path: Path) -> None:
    """Keys are mounted for reading; a restore under a running worker is noticed all the same."""
    memory = LastSignedFile(tmp_path / "nowhere" / "last", log=LOG)
    memory.remember(sign_checkpoint(KEY, TREE, 1))
    memory.remember(sign_checkpoint(KEY, TREE, 1))
    assert 2 == memory.incarnation(Tree(), 1)
    assert [] == list(tmp_path.iterdir())


def test_repeated_incarnation_is_found(delivered: Trail) -> None:
    """Incarnations only grow: a note of an older one behind a newer one is named."""
    with delivered.attack() as attack:
        leaves = [
            row.leaf_hash for row in attack.connection.execute(delivered.tables.leaf.select())
        ]
        note = sign_checkpoint(KEY, Tree().append(leaves[:5]), 2)
        attack.run("UPDATE audit_checkpoint SET note = :note WHERE tree_size = 5", note=note)
        assert [("note", 10), ("note", 15)] == [(one.kind, one.seq) for one in attack.found()]


class Restored:
    """A restored database with the service's schema, and its data directory with the keys."""

    def __init__(self, trail: Trail, data: Path) -> None:
        self.trail = trail
        self.data = data
        (data / "keys").mkdir(parents=True, exist_ok=True)
        (data / "keys" / "mac.key").write_text(MAC.dump())
        load_or_create_erasure_keys(data / "keys" / "erasure.key", create=True)
        (data / "keys" / "signing.key").write_text(f"{KEY.dump()}\n")

    def run(self, *arguments: str) -> Result:
        """A command of the service."""
        environ = {
            "AUDITSPAN_DATA_DIR": str(self.data),
            "AUDITSPAN_COLLECTOR_FILES": str(self.trail.folder),
            "AUDITSPAN_DATABASE_URL": self.trail.engine.url.render_as_string(hide_password=False),
        }
        return CliRunner().invoke(main, arguments, env=environ, prog_name="auditspan")

    def said(self, *arguments: str) -> dict[str, Any]:
        """The object that a command prints."""
        said: dict[str, Any] = json.loads(self.run(*arguments, "--json").stdout)
        return said

    def verified(self) -> list[tuple[str, int]]:
        """Return the findings of `auditspan verify --witness`."""
        found = self.said("verify", "--witness", str(self.trail.folder))["findings"]
        return [(one["kind"], one["seq"]) for one in found]


@pytest.fixture
def migrated(fresh: Trail) -> Trail:
    """A trail with the service's schema, six rows and two checkpoints."""
    fresh.tables.event.metadata.drop_all(fresh.engine)
    upgrade(fresh.engine)
    fresh.grow(4, 2)
    return fresh


@contextmanager
def restored_after(trail: Trail, tmp_path: Path, *counts: int) -> Iterator[Restored]:
    """A dump of the trail as it is now, restored when it has gone on."""
    with dumped(trail, tmp_path) as made:
        trail.grow(*counts)
        made.written = 1000
        yield Restored(made, tmp_path / "data")


def test_the_command_begins_an_incarnation(migrated: Trail, tmp_path: Path) -> None:
    """It records the restore in the trail and signs it under an unused name.

    From then on workers that know nothing of it go on: before, `verify --witness` names the loss,
    and afterwards that and nothing else.
    """
    with restored_after(migrated, tmp_path, 5, 3) as restored:
        assert [("tail", 6)] == restored.verified()
        said = restored.said("db", "restored", "--reason", "disk lost")
        assert said == {
            "incarnation": 2,
            "origin": f"{LOG}/2",
            "tree_size": 7,
            "event_id": said["event_id"],
        }
        event = restored.said("show", said["event_id"])
        assert ("trail.restore", "disk lost", 6) == (event["action"], event["reason"], event["seq"])
        assert ("system", {"incarnation": 2}) == (event["actor"]["type"], event["metadata"])
        restored.trail.grow(2, 20)
        assert [("tail", 6)] == restored.verified()
        assert {7: "/2", 9: "/2", 29: "/2"}.items() <= {
            size: origin[-2:] for size, origin in origins(restored.trail).items()
        }.items()
        assert no_size_is_signed_twice(restored.trail)
        (restored.trail.folder / AUDIT_FILE).write_text("")
        restored.trail.grow(1)
        assert [] == restored.verified()


def test_the_command_uses_no_incarnation_again(migrated: Trail, tmp_path: Path) -> None:
    """Neither one of the table, nor one of the collector's files, nor one that is remembered."""
    with restored_after(migrated, tmp_path, 5) as restored:
        remembered = last_signed_file(restored.data / "keys" / "signing.key")
        assert 2 == restored.said("db", "restored")["incarnation"]
        assert f"{LOG}/2\n7\n" == remembered.read_text()[: len(LOG) + 5]
        remembered.unlink()
        assert 3 == restored.said("db", "restored")["incarnation"]  # one of the table
        restored.trail.deliver()
        remembered.unlink()
        with restored.trail.attack() as attack:
            attack.run("DELETE FROM audit_checkpoint WHERE tree_size > 6")
            attack.run("DELETE FROM audit_leaf WHERE seq >= 6")
            attack.connection.commit()
        assert 4 == restored.said("db", "restored")["incarnation"]  # one of the files


def test_unsealed_rows_of_a_backup_are_sealed(migrated: Trail, tmp_path: Path) -> None:
    """Rows that were not sealed yet when it was made are signed under the new name alone."""
    migrated.write(3)
    with restored_after(migrated, tmp_path, 5) as restored:
        done = restored.run("db", "restored")
        assert 0 == done.exit_code
        assert "continues as auditspan/test/2; its first checkpoint has size 10." in done.stdout
        assert {4: "/1", 6: "/1", 10: "/2"} == {
            size: origin[-2:] for size, origin in origins(restored.trail).items()
        }
        assert [("tail", 6)] == restored.verified()


def test_the_command_needs_the_keys(migrated: Trail, tmp_path: Path) -> None:
    """Without the signing key nothing is recorded."""
    place = Restored(migrated, tmp_path / "data")
    for name in ("signing.key", "mac.key"):
        file = place.data / "keys" / name
        text_ = file.read_text()
        file.unlink()
        if name == "signing.key" or migrated.engine.dialect.name == "postgresql":
            done = place.run("db", "restored")
            assert (2, "") == (done.exit_code, done.stdout)
            assert str(file) in done.stderr
        file.write_text(text_)
    assert 6 == migrated.report().rows


def test_a_worker_that_is_quicker_is_noticed(
    migrated: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint has the old name: the command says what to do, and does it the next time."""
    place = Restored(migrated, tmp_path / "data")

    def late(*given: Any, **named: Any) -> Sealer:
        migrated.seal()
        return Sealer(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(import_module("auditspan.cli.commands.restored"), "Sealer", late)
        done = place.run("db", "restored")
    assert (2, "") == (done.exit_code, done.stdout)
    assert "stop the workers and run this again" in done.stderr
    assert 2 == place.said("db", "restored")["incarnation"]
    assert {7: f"{LOG}/1", 8: f"{LOG}/2"}.items() <= origins(migrated).items()


@pytest.mark.parametrize(
    ("size", "signed", "following"), [(3, 2, 3), (9, 1, 2), (3, 1, 2)], ids=["used", "ahead", "no"]
)
def test_a_restored_cluster_uses_no_incarnation_again(
    tmp_path: Path, size: int, signed: int, following: int
) -> None:
    """The table says that it was restored, and the file under which name was signed since."""
    with grown("postgresql", tmp_path) as trail:
        remembering(trail, tmp_path)
        trail.grow(5)
        assert trail.last_signed
        tree = Tree().append(bytes([n]) * 32 for n in range(size))
        trail.last_signed.remember(sign_checkpoint(KEY, tree, signed))
        with trail.attack() as attack:
            attack.run("UPDATE audit_checkpoint SET snapshot = '4000000000:4000000000:'")
            attack.connection.commit()
        trail.grow(1)
        assert {5: f"{LOG}/1", 6: f"{LOG}/{following}"} == origins(trail)


def test_a_partial_check_says_nothing_of_checkpoints_before_it(
    fresh: Trail, tmp_path: Path
) -> None:
    """One of another incarnation, over rows that the backup had: nothing of them is lost."""
    remembering(fresh, tmp_path)
    fresh.grow(4)
    fresh.write(3)
    with older(fresh, tmp_path) as restored:
        fresh.grow()
        fresh.seal()
        fresh.deliver()
        restored.last_signed, restored.written = fresh.last_signed, 1000
        restored.grow(2)
        assert {4: f"{LOG}/1", 9: f"{LOG}/2"} == origins(restored)
        found = {
            since: [
                (one.kind, one.seq) for one in restored.report(witnessed=True, since=since).findings
            ]
            for since in (0, 9)
        }
    assert {0: [("checkpoint", 6)], 9: []} == found
