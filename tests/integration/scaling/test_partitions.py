"""A trail that is partitioned by month keeps every promise that it keeps in one table."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from auditspan.delivery.sinks import FileSink
from auditspan.delivery.worker import Worker
from auditspan.seal.guards.check import check_guards, restore_guards
from auditspan.storage.new_events import insert_records
from auditspan.storage.partitions.postgresql import create_ahead, partitions_of
from integration.scaling.conftest import partition
from integration.trust.world import KEY, MAC, Trail, opened, ours, record
from support.patience import PATIENCE

CLOCK = "ALTER TABLE audit_event ALTER recorded_at SET DEFAULT "
MONTH = """
    SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC')
                   + :n * CAST('1 month' AS interval), 'YYYY_MM')
"""


def asked(engine: Engine, query: str, **values: Any) -> list[Any]:
    """What the database answers; of a single column, its values."""
    with engine.begin() as connection:
        rows = connection.execute(text(query), values).all()
    return [row[0] if len(row) == 1 else tuple(row) for row in rows]


def done(engine: Engine, *statements: str) -> None:
    """Execute some statements in one transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def month(engine: Engine, ahead: int) -> str:
    """The month that is so many ahead, by the database's clock, as names of partitions have it."""
    (name,) = asked(engine, MONTH, n=ahead)
    return str(name)


def names(trail: Trail) -> list[str]:
    """The partitions."""
    with trail.engine.connect() as connection:
        return [one.bare for one in partitions_of(connection, trail.tables.event)]


def where(trail: Trail) -> list[str]:
    """Which partition each row is in, in the order of the ids."""
    return asked(
        trail.engine, "SELECT CAST(tableoid AS regclass) || '' FROM audit_event ORDER BY id"
    )


@contextmanager
def clock_at(trail: Trail, moment: str) -> Iterator[None]:
    """The database's clock stands at this moment, as far as rows of the trail go."""
    done(trail.engine, f"{CLOCK} '{moment}'")
    try:
        yield
    finally:
        done(trail.engine, f"{CLOCK} clock_timestamp()")


def moment_of(name: str) -> str:
    """A moment in a month."""
    return f"{name.replace('_', '-')}-15 12:00:00+00"


def test_rows_stay_and_rows_come(trail: Trail) -> None:
    """What was there is the first partition, in its file; ids and sequence go on without a gap."""
    first = f"audit_event_before_{month(trail.engine, 1)}"
    ahead = [f"audit_event_{month(trail.engine, n)}" for n in (1, 2, 3)]
    assert [*ahead, first, "audit_event_default"] == names(trail)
    assert [first] * 20 == where(trail)
    assert list(range(1, 21)) == asked(trail.engine, "SELECT id FROM audit_event ORDER BY id")
    assert list(range(20)) == asked(trail.engine, "SELECT seq FROM audit_leaf ORDER BY row_id")
    report = trail.report(witnessed=True)
    assert (True, 20, 0, []) == (report.ok, report.rows, report.unsealed, report.findings)


def test_writers_only_wait(postgres_url: str, tmp_path: Path) -> None:
    """Who writes, seals and relays while the table is partitioned goes on, and nothing is lost."""
    with opened(postgres_url, tmp_path / "collector") as trail:
        worker = Worker(
            trail.engine, trail.tables, FileSink(trail.folder), signing_key=KEY, mac_key=MAC
        )
        worker.start()
        try:
            with ThreadPoolExecutor(4) as pool:
                writers = [pool.submit(write_some, trail, 1000 * n) for n in range(1, 5)]
                partition(trail.engine)
            assert [60] * 4 == [one.result() for one in writers]
            drained = worker.drain(PATIENCE)
        finally:
            worker.stop()
        report = trail.report(witnessed=True)
    assert (True, True, 240, []) == (drained, report.ok, report.tree_size, report.findings)


def write_some(trail: Trail, first: int) -> int:
    """Sixty transactions of one row."""
    for number in range(first, first + 60):
        with trail.engine.begin() as connection:
            insert_records(connection, trail.tables, [record(number)], MAC)
    return 60


def test_nothing_is_rewritten(postgres_url: str, tmp_path: Path) -> None:
    """The rows stay where they lie on the disk, and their indexes with them."""
    files = """
        SELECT pg_relation_filenode(c.oid) FROM pg_class c
         WHERE relname ~ 'audit_event.*(target|actor|trace|xact|event_id)$' OR relkind = 'r'
           AND relname ~ '^audit_event(_before.*)?$'
         ORDER BY 1
    """
    with opened(postgres_url, tmp_path) as trail:
        trail.write(3)
        before = asked(trail.engine, files)
        partition(trail.engine)
        kept = asked(trail.engine, files)
    assert 6 == len(before)
    assert set(before) <= set(kept)


def test_months_pass(trail: Trail) -> None:
    """Each row is in the partition of its month, or in the default one, and sealed."""
    months = [month(trail.engine, n) for n in (1, 2, 3, 9)]
    for name in months:
        with clock_at(trail, moment_of(name)):
            trail.grow(2)
    places = [f"audit_event_{name}" for name in months[:3]] + ["audit_event_default"]
    assert [place for place in places for _ in range(2)] == where(trail)[20:]
    report = trail.report(witnessed=True)
    assert (True, 28, []) == (report.ok, report.tree_size, report.findings)


def test_partitions_are_made_again_and_again(trail: Trail) -> None:
    """Only what is missing is made; a month of which rows are in the default partition is not."""
    last, owed = month(trail.engine, 3), month(trail.engine, 2)
    done(trail.engine, f"DROP TABLE audit_event_{last}, audit_event_{owed}")
    with clock_at(trail, moment_of(owed)):
        trail.write(1)
    with trail.engine.begin() as connection:
        assert [f"audit_event_{last}"] == create_ahead(connection, trail.tables.event)
        assert [] == create_ahead(connection, trail.tables.event)
    with clock_at(trail, moment_of(owed)):
        trail.grow(1)
    assert ["audit_event_default"] * 2 == where(trail)[-2:]
    assert trail.report(witnessed=True).ok


def test_two_workers_at_once(trail: Trail) -> None:
    """While one makes partitions, the other does not wait, and makes none."""
    done(trail.engine, f"DROP TABLE audit_event_{month(trail.engine, 3)}")
    event = trail.tables.event
    with trail.engine.begin() as first, trail.engine.begin() as second:
        assert 1 == len(create_ahead(first, event))
        assert [] == create_ahead(second, event)


def test_readers_and_writers_go_on_while_partitions_are_made(trail: Trail) -> None:
    """A partition is attached beside a transaction that has written."""
    done(trail.engine, f"DROP TABLE audit_event_{month(trail.engine, 3)}")
    with trail.engine.begin() as writer:
        insert_records(writer, trail.tables, [record(100)], MAC)
        with trail.engine.begin() as maker:
            assert 1 == len(create_ahead(maker, trail.tables.event))
            insert_records(writer, trail.tables, [record(101)], MAC)
    assert 22 == len(where(trail))


def test_repeated_partitioning_restores_functions_and_guards(trail: Trail) -> None:
    """A second time there is nothing to move; functions and guards are made again."""
    before = where(trail)
    done(
        trail.engine,
        "DROP FUNCTION auditspan_make_partitions()",
        "DROP TRIGGER audit_event_append_only ON audit_event",
        "DROP TRIGGER audit_event_no_truncate ON audit_event_default",
    )
    partition(trail.engine)
    assert before == where(trail)
    assert [] == weak(trail)


def test_a_prepared_table_is_not_read_again(postgres_url: str, tmp_path: Path) -> None:
    """A valid CHECK says how far the first partition goes, and the index becomes its key."""
    with opened(postgres_url, tmp_path) as trail:
        trail.write(2)
        name = f"audit_event_before_{month(trail.engine, 2)}"
        done(
            trail.engine,
            "CREATE UNIQUE INDEX audit_event_id_recorded_at ON audit_event (id, recorded_at)",
        )
        bound = f"{name[-7:].replace('_', '-')}-01 00:00:00+00"
        done(
            trail.engine,
            f"ALTER TABLE audit_event ADD CONSTRAINT {name} CHECK (recorded_at < '{bound}')",
        )
        index = "SELECT pg_relation_filenode(CAST(:name AS regclass))"
        (before,) = asked(trail.engine, index, name="audit_event_id_recorded_at")
        partition(trail.engine)
        assert [before] == asked(trail.engine, index, name=f"{name}_pkey")
        assert name in names(trail)
        assert f"audit_event_{month(trail.engine, 1)}" not in names(trail)
        assert [] == weak(trail)


def weak(trail: Trail) -> list[str]:
    """What is wrong with triggers and partitions."""
    with trail.engine.connect() as connection:
        found = check_guards(connection, trail.tables)
    return [one.detail for one in found if one.kind in {"trigger", "foreign", "setting"}]


CHANGES = {
    "UPDATE {table} SET body = body": "UPDATE",
    "DELETE FROM {table}": "DELETE",
    "TRUNCATE {table}": "TRUNCATE",
}


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("change", CHANGES)
def test_every_partition_is_append_only(trail: Trail, change: str, role: str) -> None:
    """For a superuser too, in the table and in each partition, also in those made later."""
    for ahead in (1, 2, 3, 9):
        with clock_at(trail, moment_of(month(trail.engine, ahead))):
            trail.write(1)
    for table in ("audit_event", *names(trail)):
        with trail.engine.connect() as connection:
            connection.execute(text(f"SET session_replication_role = {role}"))
            with pytest.raises(IntegrityError, match=f"append-only: {CHANGES[change]} is refused"):
                connection.execute(text(change.format(table=table)))


WEAKENED = {
    "ALTER TABLE {part} DISABLE TRIGGER USER": (2, "is disabled"),
    "ALTER TABLE {part} ENABLE TRIGGER audit_event_append_only": (1, "can be bypassed"),
    "DROP TRIGGER audit_event_no_truncate ON {part}": (1, "is missing"),
    "ALTER TABLE audit_event DETACH PARTITION {part}; ALTER TABLE audit_event ATTACH PARTITION "
    "{part} FOR VALUES FROM ('{bound}') TO ('2100-01-01 00:00:00+00')": (0, ""),
    "CREATE TRIGGER mine AFTER INSERT ON {part} FOR EACH ROW EXECUTE FUNCTION "
    "auditspan_refuse_change()": (1, "trigger mine on {part}"),
    "DROP INDEX {part}_event_id_idx": (1, "{part} has no unique index on event_id"),
    "DROP TABLE {next}": (1, "There is no partition of audit_event for "),
}


@pytest.mark.parametrize("weakening", WEAKENED)
def test_a_partition_that_is_weak_is_named(trail: Trail, weakening: str) -> None:
    """What holds for the table is asked of each partition, and can be put back."""
    last = month(trail.engine, 3)
    values = {
        "part": f"audit_event_{last}",
        "next": f"audit_event_{month(trail.engine, 1)}",
        "bound": f"{last.replace('_', '-')}-01 00:00:00+00",
    }
    assert [] == weak(trail)
    done(trail.engine, *weakening.format_map(values).split(";"))
    count, sentence = WEAKENED[weakening]
    found = weak(trail)
    assert count == len(found), found
    assert all(sentence.format_map(values) in one for one in found)
    if "TRIGGER audit" in weakening or "TRIGGER USER" in weakening:
        with trail.engine.begin() as connection:
            restore_guards(connection, trail.tables)
        assert [] == weak(trail)


def test_the_sealers_reader_uses_indexes(trail: Trail) -> None:
    """Of each partition that has rows, those of new transactions are looked up by the index."""
    for ahead in (0, 1):
        with clock_at(trail, moment_of(month(trail.engine, ahead))):
            for _ in range(100):
                trail.write(10)
    trail.seal(batch=5000)
    newest = "SELECT snapshot FROM audit_checkpoint ORDER BY tree_size DESC LIMIT 1"
    (snapshot,) = asked(trail.engine, newest)
    done(trail.engine, "ANALYZE audit_event", "ANALYZE audit_leaf")
    plan = "\n".join(asked(trail.engine, EXPLAIN, prev=snapshot))
    filled = {place for place in where(trail) if f"Seq Scan on {place}" in plan}
    assert set() == filled, plan
    assert 4 == plan.count("Index Scan"), plan


EXPLAIN = """
    EXPLAIN SELECT e.id, e.body FROM (
        SELECT e.* FROM audit_event e
         WHERE e.xact_id >= pg_snapshot_xmax(CAST(:prev AS pg_snapshot))
        UNION ALL
        SELECT e.* FROM audit_event e
         WHERE e.xact_id = ANY (ARRAY(SELECT pg_snapshot_xip(CAST(:prev AS pg_snapshot))))
    ) e
    WHERE NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.row_id = e.id)
    ORDER BY e.id LIMIT 5000
"""


def test_an_event_id_that_is_used_again(trail: Trail, caplog: pytest.LogCaptureFixture) -> None:
    """In the same month it is refused; in another one it is sealed, named, and stops nobody."""
    twice = record(7000)
    with trail.engine.begin() as connection:
        insert_records(connection, trail.tables, [twice], MAC)
    with pytest.raises(IntegrityError, match="duplicate key"), trail.engine.begin() as connection:
        insert_records(connection, trail.tables, [twice], MAC)
    with clock_at(trail, moment_of(month(trail.engine, 1))), trail.engine.begin() as connection:
        insert_records(connection, trail.tables, [twice._replace(tx_id="other")], MAC)
    trail.grow(2)
    assert [] == ours(caplog)
    report = trail.report(witnessed=True)
    assert (24, 24, 0) == (report.rows, report.tree_size, report.unsealed)
    assert [("duplicate", twice.event_id)] == [(f.kind, f.event_id) for f in report.findings]


def test_a_partition_that_is_taken_away_is_named(trail: Trail) -> None:
    """Row by row; a check that begins behind it is clean, and so is all when it is back."""
    first = f"audit_event_before_{month(trail.engine, 1)}"
    with clock_at(trail, moment_of(month(trail.engine, 1))):
        trail.grow(3)
    done(trail.engine, f"ALTER TABLE audit_event DETACH PARTITION {first}")
    assert ["missing-row"] * 20 == [one.kind for one in trail.report(witnessed=True).findings]
    later = trail.report(witnessed=True, since=20)
    assert (True, 20, 3) == (later.ok, later.since, later.rows)
    bound = f"{first[-7:].replace('_', '-')}-01 00:00:00+00"
    attach = f"ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ('{bound}')"
    done(trail.engine, f"ALTER TABLE audit_event {attach}")
    assert trail.report(witnessed=True).ok
    assert [] == weak(trail)


def test_rows_that_are_changed_in_a_partition_are_found(trail: Trail) -> None:
    """Whoever has every right may write to a partition itself; verify names the row."""
    with trail.attack() as attack:
        first = f"audit_event_before_{month(trail.engine, 1)}"
        forge = "SET body = replace(body, 'kim', 'eve') WHERE id = 3"
        attack.run(f"ALTER TABLE {first} DISABLE TRIGGER USER", f"UPDATE {first} {forge}")
        assert {3} == {one.row_id for one in attack.found() if one.row_id}
