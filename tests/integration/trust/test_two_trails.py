"""Two trails that deliver to one collector are told apart by the names in their records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from auditspan import AuditConfigError
from auditspan.delivery.relay import Relay
from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.delivery.worker import Worker
from auditspan.storage import snapshot
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.files import read_logs
from auditspan.tlog.note import SigningKey
from auditspan.verify import ReconcileReport, reconcile, resend
from auditspan.verify.trail import verify_trail
from auditspan.verify.witness import read_witness
from auditspan_service.cli import main
from integration.trust.test_announced import commit_and_announce, spans
from integration.trust.world import KEY, MAC, OTHER_LOG, Trail, opened
from support.migrated import migrated_sqlite


@pytest.fixture
def other(fresh: Trail, tmp_path: Path) -> Iterator[Trail]:
    """A second trail in another database, which delivers to the same files."""
    with opened(f"sqlite:///{tmp_path / 'other.db'}", fresh.folder) as made:
        made.written = 100
        yield made


def grow(
    trail: Trail, count: int, keys: Sequence[SigningKey] = (), name: str | None = None
) -> None:
    """Write, seal and deliver rows as a worker with these keys or this name does."""
    trail.write(count)
    trail.seal(keys=keys)
    sink = FileSink(trail.folder)
    with trail.engine.connect() as connection:
        Relay(trail.engine, trail.tables, sink, trail=name).deliver(connection)
    sink.close()


def compared(trail: Trail, *names: str) -> ReconcileReport:
    """Return the report of `reconcile` for the trail and the files."""
    with snapshot(trail.engine) as connection:
        return reconcile(connection, trail.tables, [trail.folder], names=names)


def delete_newest(trail: Trail) -> str:
    """Delete the newest row with the owner's rights; return its event id."""
    with trail.attack() as attack:
        newest = "SELECT event_id FROM audit_event WHERE id = (SELECT max(id) FROM audit_event)"
        event_id = str(attack.connection.execute(text(newest)).scalar_one())
        attack.run("DELETE FROM audit_event WHERE id = (SELECT max(id) FROM audit_event)")
        attack.connection.commit()
    return event_id


def change_records(trail: Trail, name: str | None) -> None:
    """Replace the name of the trail in all records of the files; without a name, remove it."""
    file = trail.folder / AUDIT_FILE
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        for record in line["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
            kept = [one for one in record["attributes"] if one["key"] != semconv.TRAIL_NAME]
            added = {"key": semconv.TRAIL_NAME, "value": {"stringValue": name}}
            record["attributes"] = [*kept, added] if name else kept
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def test_every_record_carries_the_name_of_its_trail(fresh: Trail) -> None:
    """Rows and checkpoints have the name of the signing key as an attribute."""
    grow(fresh, 2, [KEY])
    found = [entry.attributes.get(semconv.TRAIL_NAME) for entry in read_logs(fresh.folder)]
    assert [KEY.name] * 3 == found


def test_events_that_are_sent_again_carry_the_name_of_their_trail(fresh: Trail) -> None:
    """`resend` names the trail as its newest signed checkpoint does."""
    grow(fresh, 2, [KEY])
    (fresh.folder / AUDIT_FILE).unlink()
    sink = FileSink(fresh.folder)
    with snapshot(fresh.engine) as connection:
        resend(connection, fresh.tables, sink, compared(fresh).missing)
    sink.close()
    found = [entry.attributes.get(semconv.TRAIL_NAME) for entry in read_logs(fresh.folder)]
    assert [KEY.name] * 2 == found


def test_records_of_another_trail_are_counted_only(fresh: Trail, other: Trail) -> None:
    """Each of two trails reconciles with files that hold the records of both."""
    grow(fresh, 3, [KEY])
    grow(other, 2, [OTHER_LOG])
    first, second = compared(fresh), compared(other)
    assert (True, 3, {OTHER_LOG.name: 2}) == (first.ok, first.found, first.others)
    assert (True, 2, {KEY.name: 3}) == (second.ok, second.found, second.others)


def test_a_lost_row_is_unknown_beside_another_trail(fresh: Trail, other: Trail) -> None:
    """A record with this trail's name that the table lacks is a finding."""
    grow(fresh, 3, [KEY])
    grow(other, 2, [OTHER_LOG])
    lost = delete_newest(fresh)
    assert ([lost], {OTHER_LOG.name: 2}) == (compared(fresh).unknown, compared(fresh).others)


def test_records_without_a_name_belong_to_every_trail(fresh: Trail, other: Trail) -> None:
    """Records of earlier releases that the table lacks are unknown, as they were."""
    grow(other, 2, [OTHER_LOG])
    change_records(other, None)
    grow(fresh, 3, [KEY])
    assert (2, {}) == (len(compared(fresh).unknown), compared(fresh).others)


def test_a_lost_row_is_unknown_although_the_notes_were_swapped(fresh: Trail) -> None:
    """Names in records of rows that are there count, whatever the checkpoints say."""
    grow(fresh, 3, [KEY])
    lost = delete_newest(fresh)
    with fresh.attack() as attack:
        attack.seal_again([2])
        changed = "UPDATE audit_checkpoint SET note = replace(note, 'auditspan/test', 'x/y')"
        attack.run(changed)
        attack.connection.commit()
    assert [lost] == compared(fresh).unknown


def test_records_of_a_trail_whose_key_was_replaced_are_its_own(fresh: Trail) -> None:
    """Rows under both names of the trail are found, and a lost one of the first is unknown."""
    grow(fresh, 3, [KEY])
    lost = delete_newest(fresh)
    grow(fresh, 2, [OTHER_LOG])
    report = compared(fresh)
    assert (4, [lost], {}) == (report.found, report.unknown, report.others)


def test_unsigned_trails_with_names_are_distinguished(fresh: Trail, other: Trail) -> None:
    """The name that the worker was given is that of a trail without a signing key."""
    grow(fresh, 3, name="shop")
    grow(other, 2, name="billing")
    assert (True, {"billing": 2}) == (compared(fresh).ok, compared(fresh).others)
    assert (True, {"shop": 3}) == (compared(other).ok, compared(other).others)


def test_an_unsigned_trail_without_delivered_rows_needs_its_name(
    fresh: Trail, other: Trail
) -> None:
    """Nothing names the trail before the first record, so the caller has to."""
    grow(other, 2, name="billing")
    assert (False, True) == (compared(fresh).ok, compared(fresh, "shop").ok)


def test_unsigned_trails_without_names_are_not_distinguished(fresh: Trail, other: Trail) -> None:
    """The records of the other trail are unknown then."""
    grow(fresh, 3)
    grow(other, 2)
    assert (2, {}) == (len(compared(fresh).unknown), compared(fresh).others)


def test_a_worker_delivers_the_name_that_it_was_given(fresh: Trail) -> None:
    """`Worker(trail_name=...)` names the records of a trail without a signing key."""
    fresh.write(2)
    worker = Worker(fresh.engine, fresh.tables, FileSink(fresh.folder), trail_name="shop")
    worker.start()
    try:
        assert worker.drain(60)
    finally:
        worker.stop()
    found = {entry.attributes.get(semconv.TRAIL_NAME) for entry in read_logs(fresh.folder)}
    assert {"shop"} == found


def test_a_worker_with_two_names_is_refused(fresh: Trail) -> None:
    """A signed trail has the name of its key and no other."""
    with pytest.raises(AuditConfigError, match="leave trail_name out"):
        Worker(fresh.engine, fresh.tables, [], signing_key=KEY, trail_name="shop")


def test_announced_rows_of_another_trail_are_not_deleted(fresh: Trail, other: Trail) -> None:
    """The log record of an announced event says which trail it belongs to."""
    commit_and_announce(other, 2)
    other.seal(keys=[OTHER_LOG])
    other.deliver()
    ids = commit_and_announce(fresh, 2)
    fresh.seal()
    fresh.deliver()
    lost = delete_newest(fresh)
    with snapshot(fresh.engine) as connection:
        report = reconcile(connection, fresh.tables, [fresh.folder], spans=[spans(fresh)])
    assert (4, [lost], ids[1]) == (report.announced, report.deleted, lost)


def test_the_witness_of_one_trail_passes_over_the_other(fresh: Trail, other: Trail) -> None:
    """With its own public key, each of two trails verifies with the files of both."""
    grow(fresh, 3, [KEY])
    grow(other, 2, [OTHER_LOG])
    for trail, key in ((fresh, KEY), (other, OTHER_LOG)):
        witness = read_witness([trail.folder], [key.public])
        with snapshot(trail.engine) as connection:
            report = verify_trail(connection, trail.tables, MAC, [key.public], witness=witness)
        assert ([], 1) == (report.findings, report.witnessed)


def command(trail: Trail, *arguments: str) -> Result:
    """Run a command of `auditspan` on this trail, without the key files."""
    url = trail.engine.url.render_as_string(hide_password=False)
    environ = {"AUDITSPAN_DATA_DIR": str(trail.folder.parent), "AUDITSPAN_DATABASE_URL": url}
    return CliRunner().invoke(main, list(arguments), env=environ)


def test_the_command_counts_records_of_another_trail(tmp_path: Path) -> None:
    """`reconcile` exits with 0, and counts the records of other trails by their names."""
    url = migrated_sqlite(tmp_path / "trail.db")
    files = tmp_path / "collector"
    with opened(url, files) as trail, opened(f"sqlite:///{tmp_path / 'b.db'}", files) as other:
        grow(trail, 3, [KEY])
        grow(other, 2, [OTHER_LOG])
        shown = command(trail, "reconcile", "--files", str(files))
        as_json = command(trail, "reconcile", "--json", "--files", str(files))
    assert (0, 0) == (shown.exit_code, as_json.exit_code)
    assert "2 events of other trails: auditspan/other" in shown.stdout.splitlines()
    assert {"auditspan/other": 2} == json.loads(as_json.stdout)["others"]
