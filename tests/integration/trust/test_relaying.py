"""The relay sends checkpoints behind the rows that they cover, and what is missing once more."""

from __future__ import annotations

import gzip
import json
import logging
import time
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditspan.delivery.cursors import Item, load_cursors, newest_checkpoint, outgoing
from auditspan.delivery.relay import HEARTBEAT
from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.format.rows import SealedRow
from auditspan.storage import snapshot
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.files import LogEntry, read_logs
from auditspan.tlog.note import Checkpoint, open_note
from auditspan.verify import reconcile, resend
from auditspan_service.cli import main
from integration.trust.world import KEY, MAC, Trail, opened, ours
from support.migrated import migrated_sqlite
from support.relaying import relaying, wait_for


def delivered_logs(trail: Trail) -> list[LogEntry]:
    """Return the records in the collector's file."""
    return list(read_logs(trail.folder))


def told(entries: list[LogEntry]) -> list[tuple[str, object]]:
    """Rows by their number, checkpoints by their size, in the order of the file."""
    return [
        ("checkpoint", entry.attributes[semconv.TREE_SIZE])
        if entry.event_name == semconv.EVENT_CHECKPOINT
        else ("row", entry.attributes[semconv.SEQUENCE_NUMBER])
        for entry in entries
    ]


def test_checkpoint_follows_the_rows_it_covers(fresh: Trail) -> None:
    """In the file every checkpoint comes after all its rows, smaller ones first.

    Not directly after: the records of one export are grouped by their resources.
    """
    fresh.grow(2, 1, 3)
    entries = told(delivered_logs(fresh))
    assert [("checkpoint", size) for size in (2, 3, 6)] == [e for e in entries if e[0] != "row"]
    for place, (kind, size) in enumerate(entries):
        if kind == "checkpoint":
            assert {("row", seq) for seq in range(int(str(size)))} <= set(entries[:place])


def test_checkpoint_record_repeats_its_note(delivered: Trail) -> None:
    """The body is the note, byte for byte; the attributes repeat it; it is of no trace."""
    entries = [e for e in delivered_logs(delivered) if e.event_name == semconv.EVENT_CHECKPOINT]
    assert 4 == len(entries)
    for entry in entries:
        said = Checkpoint.parse(open_note(str(entry.body), [KEY.public]).text)
        assert {
            semconv.TREE_SIZE: said.size,
            semconv.TREE_ROOT: said.root.hex(),
            semconv.KEY_ID: KEY.public.key_id,
            semconv.TRAIL_NAME: KEY.name,
        } == entry.attributes
        assert (None, None, "INFO") == (entry.trace_id, entry.span_id, entry.severity_text)
        assert entry.time == entry.observed > 0


def test_unsigned_checkpoints_are_not_sent(fresh: Trail) -> None:
    """A trail without a key is not a witness."""
    fresh.write(2)
    fresh.seal(keys=[])
    fresh.deliver()
    assert [("row", 0), ("row", 1)] == told(delivered_logs(fresh))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_a_batch_of_any_size_keeps_the_order(delivered: Trail, limit: int) -> None:
    """Batches follow each other without a gap; a checkpoint is never cut off from its last row."""
    items: list[Item] = []
    after = -1
    with delivered.engine.connect() as connection:
        while batch := outgoing(connection, delivered.tables, after, limit=limit, max_bytes=10**6):
            assert len(batch) <= max(limit, 2)
            items += batch
            after = [item.seq for item in batch if isinstance(item, SealedRow)][-1]
    keys = [(item.seq, 0) if isinstance(item, SealedRow) else (item.size - 1, 1) for item in items]
    assert sorted(keys) == keys
    assert 16 + 4 == len(set(keys)) == len(keys)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_removed_rows_are_skipped(delivered: Trail, limit: int) -> None:
    """Also where it is more than a batch."""
    with delivered.attack() as attack:
        attack.run("DELETE FROM audit_leaf WHERE seq BETWEEN 2 AND 11")
        sent: list[int] = [-1]
        while batch := outgoing(
            attack.connection, delivered.tables, sent[-1], limit=limit, max_bytes=10**6
        ):
            sent += [item.seq for item in batch if isinstance(item, SealedRow)]
    assert [-1, 0, 1, 12, 13, 14, 15] == sent


def test_unconfirmed_records_are_repeated_after_a_crash(delivered: Trail) -> None:
    """Rows and checkpoints, in the same order, under the same ids: at least once."""
    first = delivered_logs(delivered)
    delivered.deliver()
    assert [*told(first), *told(first)] == told(delivered_logs(delivered))


def test_heartbeat_repeats_the_newest_checkpoint(delivered: Trail) -> None:
    """After a minute without news, once a minute: the same note, observed now.

    Nothing is signed anew, and the table stays as it is.
    """
    ahead = [0.0]
    before = len(delivered_logs(delivered))

    def has(count: int) -> bool:
        ahead[0] += 2.0  # the clock runs a hundred times as fast
        return len(delivered_logs(delivered)) == count

    with relaying(
        delivered.engine,
        delivered.tables,
        FileSink(delivered.folder),
        lambda: time.monotonic() + ahead[0],
    ):
        wait_for(lambda: has(2 * before))  # the unsafe part again
        for beats in (1, 2):
            began = ahead[0]
            wait_for(lambda: has(2 * before + beats))  # noqa: B023 (called at once)
            assert HEARTBEAT / 2 < ahead[0] - began
    entries = delivered_logs(delivered)
    assert [("checkpoint", 16)] * 2 == told(entries[2 * before :])
    assert {str(entries[before - 1].body)} == {str(entry.body) for entry in entries[2 * before :]}
    assert all(entry.observed > entry.time for entry in entries[2 * before :])
    assert [4, 5, 11, 16] == delivered.sizes()
    assert [] == delivered.report(witnessed=True).findings


def test_leaf_with_the_largest_number_is_delivered(fresh: Trail) -> None:
    """A sequence number that was tampered with does not end the reading of batches."""
    fresh.write(2)
    fresh.seal()
    with fresh.attack() as attack:
        attack.run("UPDATE audit_leaf SET seq = :last WHERE seq = 1", last=2**63 - 1)
        attack.connection.commit()
    with fresh.engine.connect() as connection:
        batches = [
            outgoing(connection, fresh.tables, after, limit=10, max_bytes=2**20)
            for after in (-1, 0, 2**63 - 1)
        ]
    numbers = [[one.seq for one in batch if isinstance(one, SealedRow)] for batch in batches]
    assert [[0], [2**63 - 1], []] == numbers


def test_checkpoint_without_a_valid_time_is_delivered(fresh: Trail) -> None:
    """A time that was tampered with does not end the delivery of the rows, nor of heartbeats."""
    fresh.write(3)
    fresh.seal()
    with fresh.attack() as attack:
        attack.run("UPDATE audit_checkpoint SET created_at = 'infinity'")
        attack.connection.commit()
    fresh.deliver()
    entries = delivered_logs(fresh)
    assert [*(("row", number) for number in range(3)), ("checkpoint", 3)] == told(entries)
    assert 0 == entries[-1].time
    with fresh.engine.connect() as connection:
        newest = newest_checkpoint(connection, fresh.tables)
    assert (3, None) == (newest and newest.size, newest and newest.created_at)


UNFIT = ["no JSON", "{}", "[]", '{"action":1,"outcome":"success"}']


@pytest.mark.parametrize("body", [*UNFIT, pytest.param("[" * 50_000, id="deep")])
def test_a_row_of_which_no_record_can_be_made_is_set_aside(
    fresh: Trail, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    """A row that was tampered with before it was sent is named, and the others are sent."""
    fresh.write(3)
    fresh.seal()
    with fresh.attack() as attack:
        attack.run("UPDATE audit_event SET body = :body WHERE id = 2", body=body)
        attack.connection.commit()
    with caplog.at_level(logging.ERROR):
        fresh.deliver()
    assert [("row", 0), ("row", 2), ("checkpoint", 3)] == told(delivered_logs(fresh))
    assert ["is quarantined" in one.getMessage() for one in ours(caplog)] == [True]


def test_checkpoints_are_no_unknown_events(delivered: Trail) -> None:
    """A comparison of rows with records counts rows."""
    with snapshot(delivered.engine) as connection:
        report = reconcile(connection, delivered.tables, [delivered.folder])
    assert (True, 16, 16, 0) == (report.ok, report.rows, report.found, report.duplicates)


def test_place_of_damage_in_the_files_is_named(delivered: Trail) -> None:
    """The readable part counts, and the report has the place of the first damaged piece."""
    file = delivered.folder / AUDIT_FILE
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"resourceLogs":[{"torn":\n')
    with snapshot(delivered.engine) as connection:
        report = reconcile(connection, delivered.tables, [delivered.folder])
    file.write_bytes(whole)
    place, _, reason = str(report.first_damage).partition(f"{file}: ")
    expected = (16, 1, f"at byte {len(whole)} of ", True)
    assert expected == (report.found, report.damaged_lines, place, bool(reason))


def lose(trail: Trail, count: int) -> list[str]:
    """Take the first rows out of the collector's file, exports as they are; their ids."""
    path = trail.folder / AUDIT_FILE
    lost: list[str] = []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        export = json.loads(line)
        for resource in export["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for record in list(scope["logRecords"]):
                    names = {one["key"]: one["value"] for one in record["attributes"]}
                    if "audit.record.id" in names and len(lost) < count:
                        lost.append(names["audit.record.id"]["stringValue"])
                        scope["logRecords"].remove(record)
        kept.append(json.dumps(export, separators=(",", ":")))
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return lost


def test_missing_records_are_resent(delivered: Trail) -> None:
    """Exactly that, and nothing else; the cursor stays where it was.

    Rows that the relay has not come to are left to it.
    """
    lost = lose(delivered, 5)
    delivered.write(2)
    delivered.seal()
    sink = FileSink(delivered.folder)
    with snapshot(delivered.engine) as connection:
        cursors = load_cursors(connection, delivered.tables, sink.name)
        missing = reconcile(connection, delivered.tables, [delivered.folder]).missing
        done = resend(connection, delivered.tables, sink, missing)
        again = reconcile(connection, delivered.tables, [delivered.folder])
        assert cursors == load_cursors(connection, delivered.tables, sink.name)
    sink.close()
    assert (lost, 2, {}) == (done.sent, done.waiting, done.refused)
    assert (16, 2, 0) == (again.found, len(again.missing), again.duplicates)
    sequence = [entry[1] for entry in told(delivered_logs(delivered))[-5:]]
    assert all(int(str(a)) < int(str(b)) for a, b in pairwise(sequence))


def command(trail: Trail, *arguments: str) -> Result:
    """`auditspan reconcile` on this trail, with the file sink."""
    keys = trail.folder.parent / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "mac.key").write_text(MAC.dump())
    environ = {
        "AUDITSPAN_DATA_DIR": str(trail.folder.parent),
        "AUDITSPAN_DATABASE_URL": trail.engine.url.render_as_string(hide_password=False),
        "AUDITSPAN_SINK": "file",
    }
    return CliRunner().invoke(main, ["reconcile", "--json", *arguments], env=environ)


def test_the_command_sends_again(tmp_path: Path) -> None:
    """Exit code 1 with what was missing and what was sent, then 0."""
    url = migrated_sqlite(tmp_path / "trail.db")
    with opened(url, tmp_path / "collector") as trail:
        trail.grow(3, 4)
        lost = lose(trail, 2)
        first = command(trail, "--resend")
        said = json.loads(first.stdout)
        assert (1, lost, lost) == (first.exit_code, said["missing"], said["resent"]["sent"])
        files = [str(file) for file in trail.folder.rglob("*.jsonl")]
        assert 0 == command(trail, "--files", *files).exit_code


def test_the_command_reads_gzip_and_names_other_formats(tmp_path: Path) -> None:
    """Packed files reconcile like plain ones; a format that is not read is exit code 2."""
    url = migrated_sqlite(tmp_path / "trail.db")
    with opened(url, tmp_path / "collector") as trail:
        trail.grow(3, 4)
        file = trail.folder / AUDIT_FILE
        packed = file.with_name("audit.jsonl.1.gz")
        packed.write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
        assert 0 == command(trail, "--files", str(trail.folder)).exit_code
        packed.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
        refused = command(trail, "--files", str(trail.folder))
    assert (2, True) == (refused.exit_code, "is zstd, not OTLP JSON lines" in refused.stderr)
