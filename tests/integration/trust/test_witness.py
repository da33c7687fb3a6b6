"""Changes that the database can take back, and the collector's files cannot."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from auditspan.delivery.sinks import AUDIT_FILE
from auditspan.storage.keys import load_or_create_signing_keys, rotate_signing_key
from auditspan.tlog.checkpoint import sign_checkpoint
from auditspan.tlog.merkle import Tree
from auditspan.tlog.note import SigningKey
from auditspan.verify.witness import read_witness
from auditspan_service.cli import main
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from integration.trust.backups import older
from integration.trust.conftest import BATCHES
from integration.trust.world import FOREIGN, KEY, MAC, OTHER_LOG, Trail, opened
from support.migrated import migrated_sqlite

TIMES = pytest.mark.parametrize("seed", range(10))
SIZE = sum(BATCHES)


def chance(seed: int) -> random.Random:
    """Random generator of places; the same for the same seed."""
    return random.Random(seed)  # noqa: S311 (no secret)


def test_a_whole_trail_has_no_finding(delivered: Trail) -> None:
    """Every checkpoint was witnessed, however often it was sent, and the table still shows it."""
    delivered.deliver()
    delivered.grow(3)
    report = delivered.report(witnessed=True)
    assert [] == report.findings
    assert (SIZE + 3, 5, 5) == (report.tree_size, report.checkpoints, report.witnessed)


@TIMES
def test_a_tail_that_is_cut_off_is_found(lasting: Trail, seed: int) -> None:
    """Wherever the cut is, signed again with the true key: the first lost row is named.

    Without the witness, the cursor of the sink says that there were more rows.
    """
    size = chance(seed).randrange(1, SIZE)
    with lasting.attack() as attack:
        attack.cut(size)
        assert {"delivery"} == attack.kinds()
        assert [("tail", size)] == [(one.kind, one.seq) for one in attack.found(witnessed=True)]


def test_emptied_tables_are_found(lasting: Trail) -> None:
    """Nothing is left, and the witness says that there was something."""
    with lasting.attack() as attack:
        attack.empty()
        assert {"emptied"} == attack.kinds(witnessed=True)


@TIMES
def test_a_rewritten_and_signed_history_is_found(lasting: Trail, seed: int) -> None:
    """One row changed, and everything that follows made anew with the true keys.

    The finding names the last checkpoint that still stands: the change is behind it. A check that
    does not read the row finds it too.
    """
    some = chance(seed)
    seq = some.randrange(SIZE)
    standing = max(size for size in [0, *lasting.sizes()] if size <= seq)
    with lasting.attack() as attack:
        attack.rewrite(seq)
        assert set() == attack.kinds()
        for since in (0, some.randrange(SIZE + 1)):
            found = attack.found(witnessed=True, since=since)
            assert [("rewritten", standing)] == [(one.kind, one.seq) for one in found]


LATER = [0, 6, 7, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 2, 3, 4, 5, 8, 9))]


@pytest.mark.parametrize("later", LATER)
def test_an_older_backup_is_found(delivered: Trail, tmp_path: Path, later: int) -> None:
    """The database as it was before seven rows, and as many others that were written since."""
    with older(delivered, tmp_path) as restored:
        delivered.grow(4, 3)
        restored.written = 1000  # other rows than those that were lost
        restored.grow(*([later] if later else []))
        found = restored.report(witnessed=True).findings
        assert [] == restored.report().findings
    expected = {"tail"} if later < 7 else {"rewritten"}  # as many as were lost are no tail
    assert expected <= {one.kind for one in found} <= {"tail", "rewritten"}


def test_a_checkpoint_that_was_taken_away_is_found(lasting: Trail) -> None:
    """The rows are as they were, and the tables whole; what was signed is gone."""
    with lasting.attack() as attack:
        attack.run("DELETE FROM audit_checkpoint WHERE tree_size = 5")
        assert set() == attack.kinds()
        assert {"checkpoint"} == attack.kinds(witnessed=True)


def kinds(trail: Trail) -> set[str]:
    """The kinds of the findings with the witness; without it there are none."""
    assert [] == trail.report().findings
    return {one.kind for one in trail.report(witnessed=True).findings}


def witness_also(trail: Trail, note: str) -> None:
    """Put one more checkpoint into the collector's file."""
    body = {"eventName": "audit.checkpoint", "body": {"stringValue": note}}
    export = {"resourceLogs": [{"scopeLogs": [{"logRecords": [body]}]}]}
    with (trail.folder / AUDIT_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(export, separators=(",", ":")) + "\n")


def test_witnessed_checkpoint_of_an_unknown_key_is_found(delivered: Trail) -> None:
    """It bears our name and is signed by a key that we do not know."""
    witness_also(delivered, sign_checkpoint(FOREIGN, Tree(size=99, frontier=(bytes(32),)), 1))
    assert {"witness"} == kinds(delivered)


@pytest.mark.parametrize(
    "note", [sign_checkpoint(OTHER_LOG, Tree(), 1), "no note", ""], ids=["other", "text", "empty"]
)
def test_checkpoints_of_other_logs_are_skipped(delivered: Trail, note: str) -> None:
    """A collector may serve several trails."""
    witness_also(delivered, note)
    assert set() == kinds(delivered)


def test_a_swapped_signing_key_is_found(tmp_path: Path) -> None:
    """With the key of the machine that signs, checkpoints of another log are exit code 1.

    With the public key that was noted outside, the notes of the new key are findings themselves.
    """
    with command_trail(tmp_path) as trail:
        trail.grow(4)
        seal_as(trail, OTHER_LOG)
        trail.write(2)
        trail.seal(keys=[OTHER_LOG])
        trail.deliver()
        key_file = tmp_path / "keys" / "signing.key"
        key_file.parent.mkdir()
        key_file.write_text(f"{OTHER_LOG.dump()}\n")
        assert 0 == command(trail).exit_code
        done = command(trail, "--witness", str(trail.folder))
        (finding,) = json.loads(done.stdout)["findings"]
        assert (1, "witness") == (done.exit_code, finding["kind"])
        assert "another log ('auditspan/test')" in finding["detail"]
        given = ("--public-key", KEY.public.vkey, "--witness", str(trail.folder))
        assert 1 == command(trail, *given).exit_code


def test_a_trail_verifies_after_several_rotations(tmp_path: Path) -> None:
    """Plain verification knows the retired keys, and so does the witness."""
    with command_trail(tmp_path) as trail:
        key_file = tmp_path / "keys" / "signing.key"
        keys = load_or_create_signing_keys(key_file, create=True)
        for _ in range(4):
            trail.write()
            trail.seal(keys=keys)
            keys = rotate_signing_key(key_file)
        trail.deliver()
        done = command(trail, "--witness", str(trail.folder))
        assert (0, []) == (done.exit_code, json.loads(done.stdout)["findings"])


@contextmanager
def command_trail(folder: Path) -> Iterator[Trail]:
    """A trail for the commands, in a SQLite file."""
    url = migrated_sqlite(folder / "trail.db")
    with opened(url, folder / "collector") as trail:
        yield trail


def seal_as(trail: Trail, key: SigningKey) -> None:
    """Replace the notes of the table by those of another key."""
    point = trail.tables.checkpoint
    with trail.attack() as attack:
        rows = attack.connection.execute(select(point.c.tree_size, point.c.frontier)).all()
        for size, frontier in rows:
            note = sign_checkpoint(key, Tree.load(size, frontier), 1)
            changed = update(point).where(point.c.tree_size == size).values(note=note)
            attack.connection.execute(changed)
        attack.connection.commit()


def test_files_without_a_checkpoint_are_no_witness(delivered: Trail) -> None:
    """Nothing to compare with is not success."""
    (delivered.folder / AUDIT_FILE).write_text("")
    assert {"witness"} == kinds(delivered)


@pytest.mark.parametrize("since", [0, 3, 4, 11, SIZE, SIZE + 5])
def test_a_partial_check_reads_from_the_last_checkpoint(lasting: Trail, since: int) -> None:
    """Earlier rows are not read, and the root is that of the whole all the same."""
    whole, part = lasting.report(), lasting.report(since=since)
    assert [] == part.findings
    assert max(size for size in [0, *lasting.sizes()] if size <= since) == part.since
    assert (whole.root, whole.tree_size) == (part.root, part.tree_size)


def test_a_partial_check_sees_that_rows_before_it_are_gone(lasting: Trail) -> None:
    """The leaves that are not read are counted, and the row without a leaf is named."""
    with lasting.attack() as attack:
        attack.run("DELETE FROM audit_leaf WHERE seq = 2")
        assert {"gap", "unsealed"} == attack.kinds(since=11)


def command(trail: Trail, *arguments: str) -> Result:
    """`auditspan verify` on this trail, with its keys."""
    keys = trail.folder.parent / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "mac.key").write_text(MAC.dump())
    url = trail.engine.url.render_as_string(hide_password=False)
    environ = {"AUDITSPAN_DATA_DIR": str(trail.folder.parent), "AUDITSPAN_DATABASE_URL": url}
    return CliRunner().invoke(main, ["verify", "--json", *arguments], env=environ)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_command_compares_with_the_files(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Exit code 0 for a whole trail, 1 for one without its tail, 2 where no key is known."""
    url = f"sqlite:///{tmp_path / 'trail.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    with opened(url, tmp_path / "collector") as trail:
        trail.grow(*BATCHES)
        files = [str(file) for file in trail.folder.rglob("*.jsonl")]
        key = ("--public-key", KEY.public.vkey)
        assert 0 == command(trail, *key, "--witness", *files).exit_code
        with trail.attack() as attack:
            attack.cut(7)
            attack.connection.commit()
        done = command(trail, *key, "--witness", str(trail.folder), "--since", "3")
        assert (1, "tail") == (done.exit_code, json.loads(done.stdout)["findings"][0]["kind"])
        assert 2 == command(trail, "--witness", *files).exit_code
        assert 2 == command(trail, *key, *files).exit_code


def test_the_witness_reads_each_checkpoint_once(delivered: Trail) -> None:
    """In the order of the files, whatever was sent twice."""
    delivered.deliver()
    seen = read_witness([delivered.folder / AUDIT_FILE], [KEY.public])
    assert [4, 5, 11, 16] == [one.size for one in seen.checkpoints]
