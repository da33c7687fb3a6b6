"""A sealed and signed trail on both databases, and what verify says of every way of changing it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, delete, insert, select, text, update
from sqlalchemy.exc import NotSupportedError

from auditspan import Actor, AuditWriteError, MacKey, Service, Target
from auditspan.delivery.relay import Relay
from auditspan.delivery.sinks import FileSink
from auditspan.format.ids import uuid7
from auditspan.format.key_addition import KEY_ADDED, TARGET, KeyAddition
from auditspan.format.record import AuditRecord
from auditspan.seal.guards.check import check_guards
from auditspan.seal.last_signed import LastSignedFile
from auditspan.seal.sealer import Sealer
from auditspan.storage.new_events import insert_records
from auditspan.storage.tables import AuditTables, audit_tables
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.files import read_logs
from auditspan.tlog.checkpoint import sign_checkpoint
from auditspan.tlog.merkle import Tree
from auditspan.tlog.note import Checkpoint, SigningKey, open_note, sign_note
from auditspan.verify.reconciliation import reconcile
from auditspan.verify.trail import VerifyReport, verify_trail
from auditspan.verify.witness import read_witness
from integration.trust.world import OTHER_LOG, opened, ours
from support.attacker import take_guards_away
from support.templates import Template

MAC = MacKey.from_secret(bytes(range(32)))
KEY = SigningKey(name="auditspan/test", seed=bytes(range(32)))
FOREIGN = SigningKey(name="auditspan/test", seed=bytes(32))
SIZE, BATCH = 12, 5


@dataclass(frozen=True, kw_only=True)
class Trail:
    """A trail of twelve rows under three signed checkpoints."""

    engine: Engine
    tables: AuditTables

    def write(self, count: int, key: MacKey | None = MAC) -> None:
        """Commit rows as the application does."""
        with self.engine.begin() as connection:
            insert_records(connection, self.tables, [record(n) for n in range(count)], key)

    def seal(
        self, key: SigningKey | None = KEY, *, last_signed: LastSignedFile | None = None
    ) -> None:
        """Seal everything that is committed."""
        sealer = Sealer(
            self.engine,
            self.tables,
            batch=BATCH,
            signing_key=key,
            mac_key=MAC,
            last_signed=last_signed,
        )
        while sealer.seal():
            pass

    def run(self, *statements: str, **values: Any) -> None:
        """Execute statements with the owner's rights, after removing the guards."""
        with self.engine.begin() as connection:
            take_guards_away(connection)
            for statement in statements:
                connection.execute(text(statement), values)

    def report(self) -> VerifyReport:
        """Return the report of the verifier."""
        with self.engine.connect() as connection:
            return verify_trail(connection, self.tables, MAC, [KEY.public])

    def found(self) -> set[tuple[str, int | None]]:
        """Kinds and places of the findings."""
        return {(finding.kind, finding.seq) for finding in self.report().findings}

    def roots(self) -> dict[int, bytes]:
        """The roots of all checkpoints by their sizes."""
        table = self.tables.checkpoint.c
        with self.engine.connect() as connection:
            rows = connection.execute(select(table.tree_size, table.root_hash)).all()
        return {row.tree_size: bytes(row.root_hash) for row in rows}

    def notes(self) -> list[str | None]:
        """The notes of all checkpoints, smallest first."""
        table = self.tables.checkpoint.c
        with self.engine.connect() as connection:
            return list(connection.scalars(select(table.note).order_by(table.tree_size)))


def deliver(trail: Trail, folder: Path) -> None:
    """Deliver what is sealed to files in this folder."""
    sink = FileSink(folder)
    with trail.engine.connect() as connection:
        Relay(trail.engine, trail.tables, sink).deliver(connection)
    sink.close()


def record(number: int) -> AuditRecord:
    """A record with every member."""
    moment = datetime.now(UTC)
    return AuditRecord(
        event_id=uuid7(int(moment.timestamp() * 1000), secrets.token_bytes(10)),
        occurred_at=moment,
        action="user.update",
        actor=Actor.user(7, label="kim"),
        tx_id="tx",
        service=Service(name="shop"),
        target=Target(type="user", id=str(number), version=1),
        changes={"n": {"old": number, "new": number + 1}},
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        tenant="acme",
    )


@contextmanager
def trail_at(url: str) -> Iterator[Trail]:
    """A trail on a database, whose tables are created if they are missing."""
    engine = create_engine(url)
    metadata = MetaData()
    made = Trail(engine=engine, tables=audit_tables(metadata))
    metadata.create_all(engine)
    yield made
    engine.dispose()


def fill(url: str, _folder: Path) -> None:
    """Write and seal the rows."""
    with trail_at(url) as made:
        made.write(SIZE)
        made.seal()


FILLED = Template(fill)


@pytest.fixture(params=["sqlite", "postgresql"])
def trail(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trail]:
    """A trail of its own on each database."""
    with FILLED.copied(request.param, tmp_path) as url, trail_at(url) as made:
        yield made


def test_a_clean_trail_is_signed_and_verifies(trail: Trail) -> None:
    """Every checkpoint has a note of our key that says its size; there is no finding."""
    assert [] == trail.report().findings
    opened = [open_note(str(note), [KEY.public]).text for note in trail.notes()]
    assert [5, 10, 12] == [Checkpoint.parse(one).size for one in opened]
    assert {"auditspan/test/1"} == {Checkpoint.parse(one).origin for one in opened}


COLUMNS = {
    "recorded_at": "'2020-01-01 00:00:00.000000'",
    "event_id": "'017f22e2-79b0-7cc3-98c4-dc0c0c07398f'",
    "occurred_at": "'2020-01-01 00:00:00.000000'",
    **dict.fromkeys(["actor_type", "actor_id", "action", "outcome"], "'x'"),
    **dict.fromkeys(["target_type", "target_id", "tx_id", "tenant"], "'x'"),
    **dict.fromkeys(["trace_id", "span_id", "mac", "mac_key_id"], "'x'"),
    "body": "replace(body, 'kim', 'eve')",
}
ROW = "(SELECT row_id FROM audit_leaf WHERE seq = :seq)"
PLACES = pytest.mark.parametrize("seq", [0, 6, SIZE - 1], ids=["first", "middle", "last"])


@PLACES
@pytest.mark.parametrize("column", COLUMNS)
def test_an_edit_of_any_column_is_found(trail: Trail, column: str, seq: int) -> None:
    """Whatever column of a row is changed, a finding names the row."""
    trail.run(f"UPDATE audit_event SET {column} = {COLUMNS[column]} WHERE id = {ROW}", seq=seq)  # noqa: S608 (no input)
    assert {seq} == {place for _, place in trail.found()}


@PLACES
def test_a_deleted_row_is_found(trail: Trail, seq: int) -> None:
    """The row alone leaves its leaf behind."""
    trail.run(f"DELETE FROM audit_event WHERE id = {ROW}", seq=seq)  # noqa: S608 (no input)
    assert {("missing-row", seq)} == trail.found()


@PLACES
def test_a_row_deleted_with_its_leaf_is_found(trail: Trail, seq: int) -> None:
    """The sequence has a gap then, or the checkpoints speak of more than there is."""
    delete = f"DELETE FROM audit_event WHERE id = {ROW}"  # noqa: S608 (no input)
    trail.run(delete, "DELETE FROM audit_leaf WHERE seq = :seq", seq=seq)
    assert trail.found()


CHANGES = {
    "range": ["DELETE FROM audit_leaf WHERE seq BETWEEN 3 AND 6"],
    "swapped": [
        "UPDATE audit_leaf SET seq = -1 WHERE seq = 3",
        "UPDATE audit_leaf SET seq = 3 WHERE seq = 4",
        "UPDATE audit_leaf SET seq = 4 WHERE seq = -1",
    ],
    "renumbered": ["UPDATE audit_leaf SET seq = seq + 100 WHERE seq >= 6"],
    "root": ["UPDATE audit_checkpoint SET root_hash = frontier WHERE tree_size = 10"],
    "checkpoint gone": ["DELETE FROM audit_checkpoint WHERE tree_size = 12"],
    "notes gone": ["UPDATE audit_checkpoint SET note = NULL"],
    "one note gone": ["UPDATE audit_checkpoint SET note = NULL WHERE tree_size = 10"],
    "text of a note": ["UPDATE audit_checkpoint SET note = replace(note, 'test', 'tests')"],
    "no note": ["UPDATE audit_checkpoint SET note = 'x' WHERE tree_size = 5"],
    "cursor ahead": [
        "INSERT INTO audit_delivery VALUES ('otlp', 1000000, 3, '2026-01-01 00:00:00.000000')"
    ],
    "notes of another": [
        "UPDATE audit_checkpoint SET note = (SELECT max(note) FROM audit_checkpoint)"
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_order_root_or_note_is_found(trail: Trail, change: str) -> None:
    """Leaves, roots and notes that are not as they were sealed are findings."""
    trail.run(*CHANGES[change])
    assert trail.found()


def test_a_note_of_a_foreign_key_is_found(trail: Trail) -> None:
    """A history that another key has signed is not ours, though its roots are right."""
    text_of = open_note(str(trail.notes()[-1]), [KEY.public]).text
    forged = sign_note(text_of, [FOREIGN])
    trail.run("UPDATE audit_checkpoint SET note = :note WHERE tree_size = 12", note=forged)
    assert {("note", SIZE - 1)} == trail.found()


def test_a_swapped_key_is_found(trail: Trail, tmp_path: Path) -> None:
    """Every note is signed anew by another log: the known key and the witness both say so."""
    deliver(trail, tmp_path / "collector")
    point = trail.tables.checkpoint
    with trail.engine.begin() as connection:
        take_guards_away(connection)
        for size, frontier in connection.execute(select(point.c.tree_size, point.c.frontier)).all():
            note = sign_checkpoint(OTHER_LOG, Tree.load(size, frontier), 1)
            connection.execute(update(point).where(point.c.tree_size == size).values(note=note))
    witness = read_witness([tmp_path / "collector"], [OTHER_LOG.public], is_only_log=True)
    with trail.engine.connect() as connection:
        swapped = verify_trail(
            connection, trail.tables, MAC, [OTHER_LOG.public], witness=witness
        ).findings
    assert {("note", 4), ("note", 9), ("note", SIZE - 1)} == trail.found()
    details = [one.detail for one in swapped if one.kind == "witness"]
    assert [True, False] == ["another log" in detail for detail in details]


def test_a_row_lost_beside_another_trail_is_found(trail: Trail, tmp_path: Path) -> None:
    """Records of another trail in the files are counted, and hide no lost row of this one."""
    folder = tmp_path / "collector"
    deliver(trail, folder)
    with opened(f"sqlite:///{tmp_path / 'other.db'}", folder) as other:
        other.write(2)
        other.seal(keys=[OTHER_LOG])
        other.deliver()
    trail.run(f"DELETE FROM audit_event WHERE id = {ROW}", seq=3)  # noqa: S608 (no input)
    with trail.engine.connect() as connection:
        report = reconcile(connection, trail.tables, [folder])
    assert (1, {OTHER_LOG.name: 2}) == (len(report.unknown), report.others)


@pytest.mark.parametrize("seq", [0, SIZE - 1])
def test_a_row_without_a_mac_that_was_covered_is_found(trail: Trail, seq: int) -> None:
    """A row that loses its MAC after a key was added late is a finding, covered or not."""
    statement = KeyAddition(size=5, root=trail.roots()[5])
    cover = record(SIZE)._replace(
        action=KEY_ADDED,
        target=Target(type=TARGET[0], id=TARGET[1]),
        metadata=statement.metadata(MAC),
    )
    with trail.engine.begin() as connection:
        insert_records(connection, trail.tables, [cover], MAC)
    trail.seal()
    assert [] == trail.report().findings
    trail.run(f"UPDATE audit_event SET mac = NULL, mac_key_id = NULL WHERE id = {ROW}", seq=seq)  # noqa: S608 (no input)
    assert {seq} == {place for _, place in trail.found()}


def test_emptied_tables_are_not_verified(trail: Trail) -> None:
    """Nothing to check is not success."""
    trail.run("DELETE FROM audit_event", "DELETE FROM audit_leaf", "DELETE FROM audit_checkpoint")
    assert not trail.report().ok


def test_forged_row_is_sealed_and_reported(trail: Trail, caplog: pytest.LogCaptureFixture) -> None:
    """A false MAC is named in an error when it is sealed, and by verify; rows behind it flow."""
    trail.write(1, MacKey.from_secret(bytes(32)))
    trail.write(1)
    with caplog.at_level(logging.ERROR, logger="auditspan.seal.sealer"):
        trail.seal()
    assert 1 == len(ours(caplog))
    assert {("mac", SIZE)} == trail.found()
    assert SIZE + 2 == trail.report().tree_size


def test_unsigned_checkpoints_before_the_first_signed_one_are_found(trail: Trail) -> None:
    """Their notes may have been taken away; one finding names the last of them."""
    trail.run("UPDATE audit_checkpoint SET note = NULL")
    trail.write(1)
    trail.seal()
    assert {("note", SIZE - 1)} == trail.found()


def test_a_rebuilt_history_under_an_unsigned_checkpoint_is_found(
    trail: Trail, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A sealer that remembers what it signed logs an error and signs another incarnation.

    The row is deleted, the leaves after it are renumbered, and one unsigned checkpoint covers more
    than was signed.
    """
    remembered = LastSignedFile(tmp_path / "signing.key.last", log=KEY.name)
    remembered.remember(str(trail.notes()[-1]))
    trail.write(2)
    trail.seal(None)
    rebuild_without(trail, 3)
    trail.write(1)
    with caplog.at_level(logging.ERROR, logger="auditspan.seal.last_signed"):
        trail.seal(last_signed=remembered)
    assert ["do not continue" in one.getMessage() for one in ours(caplog)] == [True]
    assert "auditspan/test/2" == str(trail.notes()[-1]).partition("\n")[0]
    assert {("note", SIZE)} == trail.found()


def test_trail_sealed_by_another_sealer_is_accepted(
    trail: Trail, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A memory that is behind is compared with the leaves, and they go on from it."""
    remembered = LastSignedFile(tmp_path / "signing.key.last", log=KEY.name)
    remembered.remember(str(trail.notes()[0]))
    trail.write(2)
    with caplog.at_level(logging.ERROR, logger="auditspan"):
        trail.seal(last_signed=remembered)
    assert [] == ours(caplog)
    assert "auditspan/test/1" == str(trail.notes()[-1]).partition("\n")[0]
    assert [] == trail.report().findings


def rebuild_without(trail: Trail, seq: int) -> None:
    """Delete a row, close the gap in the leaves, and leave one unsigned checkpoint over them."""
    trail.run(
        f"DELETE FROM audit_event WHERE id = {ROW}",  # noqa: S608 (no input)
        "DELETE FROM audit_leaf WHERE seq = :seq",
        seq=seq,
    )
    leaf, point = trail.tables.leaf.c, trail.tables.checkpoint
    with trail.engine.begin() as connection:
        last = connection.execute(select(leaf.seq).order_by(leaf.seq.desc())).scalars().first()
        for later in range(seq + 1, int(last or 0) + 1):
            connection.execute(
                update(trail.tables.leaf).where(leaf.seq == later).values(seq=later - 1)
            )
        hashes = list(connection.scalars(select(leaf.leaf_hash).order_by(leaf.seq)))
        newest = connection.scalar(select(point.c.snapshot).order_by(point.c.tree_size.desc()))
        tree = Tree().append(hashes)
        connection.execute(delete(point))
        values = {"root_hash": tree.root, "frontier": tree.dump(), "snapshot": newest}
        connection.execute(insert(point), {"tree_size": tree.size, **values})


def test_restored_cluster_continues_under_a_new_incarnation(postgres_url: str) -> None:
    """If transaction ids have gone back, sizes may repeat: the incarnation is another."""
    engine = create_engine(postgres_url)
    metadata = MetaData()
    trail = Trail(engine=engine, tables=audit_tables(metadata))
    metadata.create_all(engine)
    trail.write(1)
    trail.seal()
    trail.run("UPDATE audit_checkpoint SET snapshot = '4000000000:4000000000:'")
    trail.write(1)
    trail.seal()
    origins = [str(note).partition("\n")[0] for note in trail.notes()]
    assert ["auditspan/test/1", "auditspan/test/2"] == origins
    assert [] == trail.report().findings
    engine.dispose()


def test_a_row_that_was_copied_is_found(trail: Trail) -> None:
    """With its valid MAC, after the unique indexes were dropped: a copy is not a second act."""
    given = {"id", "xact_id", "recorded_at"}
    copied = ", ".join(one.name for one in trail.tables.event.c if one.name not in given)
    trail.run(
        "DROP INDEX ix_audit_event_event_id",
        "DROP INDEX ix_audit_leaf_event_id",
        f"INSERT INTO audit_event ({copied}) SELECT {copied} FROM audit_event "  # noqa: S608 (no input)
        "WHERE id = (SELECT row_id FROM audit_leaf WHERE seq = 3)",
    )
    trail.seal()
    assert {("duplicate", SIZE)} == trail.found()


def test_copied_row_under_unique_leaves_stops_nothing(
    trail: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    """A copied event id is sealed and named while the unique index of the leaves is in place."""
    given = {"id", "xact_id", "recorded_at"}
    copied = ", ".join(one.name for one in trail.tables.event.c if one.name not in given)
    copy = (
        f"INSERT INTO audit_event ({copied}) SELECT {copied} FROM audit_event "  # noqa: S608 (no input)
        "WHERE id = (SELECT row_id FROM audit_leaf WHERE seq = 3)"
    )
    trail.run("DROP INDEX ix_audit_event_event_id", copy, copy)
    assert {("duplicate", None)} == trail.found()
    with caplog.at_level(logging.ERROR, logger="auditspan.seal.leaves"):
        trail.seal()
    trail.write(1)
    trail.seal()
    assert 2 == len([one for one in ours(caplog) if "it is a copy" in one.getMessage()])
    assert {("duplicate", SIZE), ("duplicate", SIZE + 1)} <= trail.found()
    assert {"duplicate"} == {kind for kind, _ in trail.found()}
    assert SIZE + 3 == trail.report().tree_size


def test_copied_row_under_unique_leaves_is_delivered(trail: Trail, tmp_path: Path) -> None:
    """The copy and the rows behind it reach the sink, each once."""
    given = {"id", "xact_id", "recorded_at"}
    copied = ", ".join(one.name for one in trail.tables.event.c if one.name not in given)
    trail.run(
        "DROP INDEX ix_audit_event_event_id",
        f"INSERT INTO audit_event ({copied}) SELECT {copied} FROM audit_event "  # noqa: S608 (no input)
        "WHERE id = (SELECT row_id FROM audit_leaf WHERE seq = 3)",
    )
    trail.seal()
    trail.write(1)
    trail.seal()
    sink_folder = tmp_path / "collector"
    deliver(trail, sink_folder)
    found = (one.attributes.get(semconv.SEQUENCE_NUMBER) for one in read_logs(sink_folder))
    assert list(range(SIZE + 2)) == [number for number in found if number is not None]


DROPPING_FUNCTION = """
CREATE FUNCTION dropping() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
"""
DROPPED = {
    "every row": {
        "sqlite": [
            "CREATE TRIGGER dropping BEFORE INSERT ON audit_event BEGIN SELECT RAISE(IGNORE); END"
        ],
        "postgresql": ["CREATE RULE dropping AS ON INSERT TO audit_event DO INSTEAD NOTHING"],
    },
    "one row": {
        "sqlite": [
            """
            CREATE TRIGGER dropping BEFORE INSERT ON audit_event WHEN NEW.target_id = '1'
            BEGIN SELECT RAISE(IGNORE); END
            """
        ],
        "postgresql": [
            DROPPING_FUNCTION,
            """
            CREATE TRIGGER dropping BEFORE INSERT ON audit_event FOR EACH ROW
            WHEN (NEW.target_id = '1') EXECUTE FUNCTION dropping()
            """,
        ],
    },
}
DROPS = pytest.mark.parametrize("rows", DROPPED)


@DROPS
def test_write_whose_row_is_dropped_is_refused(trail: Trail, rows: str) -> None:
    """Rows are not committed while the database drops one of them, or all, without an error."""
    trail.run(*DROPPED[rows][trail.engine.dialect.name])
    with pytest.raises((AuditWriteError, NotSupportedError)):  # a rule forbids RETURNING
        trail.write(3)
    assert SIZE == trail.report().rows


@DROPS
def test_guard_names_a_rule_that_drops_rows(trail: Trail, rows: str) -> None:
    """The guards name the rule or trigger that drops rows."""
    trail.run(*DROPPED[rows][trail.engine.dialect.name])
    with trail.engine.connect() as connection:
        findings = check_guards(connection, trail.tables)
    assert ["dropping" in one.detail for one in findings if one.kind == "foreign"] == [True]


def forge_old_row(trail: Trail) -> None:
    """Insert a row without a MAC that the sealer passes over, since it looks older."""
    old = {"sqlite": "id = 0", "postgresql": "xact_id = '3'"}[trail.engine.dialect.name]
    trail.write(1, None)
    trail.run(f"UPDATE audit_event SET {old} WHERE id = (SELECT max(id) FROM audit_event)")  # noqa: S608 (no input)
    trail.seal()


def test_forged_old_row_is_found_before_it_is_sealed(trail: Trail) -> None:
    """Its MAC and its age are findings while it has no leaf."""
    forge_old_row(trail)
    assert {("mac", None), ("unsealed", None)} == trail.found()


def test_forged_old_row_is_found_after_it_is_sealed(trail: Trail) -> None:
    """The sweep gives it a leaf, and its MAC stays a finding."""
    forge_old_row(trail)
    sealer = Sealer(trail.engine, trail.tables, signing_key=KEY, mac_key=MAC)
    assert 1 == sealer.sweep()
    assert {("mac", SIZE)} == trail.found()
