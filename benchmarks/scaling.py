"""Cost of a trail as it grows, and the effect of ten thousand events a second on it.

    .venv/bin/python benchmarks/scaling.py [sizes] [partitions] [backlog] [load] [simulation]

    sizes        bytes of a row, of its leaf and of each index; bytes of WAL to write and to seal it
    partitions   the rates of sealing, verifying, relaying and searching by the number of partitions
    backlog      the rate of sealing by the number of rows that wait
    load         a real load by COPY beside a worker in a process of its own, for some seconds
    simulation   the queues before sealer and relay at several rates, from the rates just measured

On the real PostgreSQL of the tests. The tables are Markdown; docs/explanation/scaling.md has a run.
"""

# ruff: noqa: T201 (a script, which prints)

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from auditspan.alembic import partition_audit_event
from auditspan.seal.sealer import BATCH
from auditspan.storage import EventFilter, find_events, get_event
from loading import Place, rate, steady_load
from queueing import Stage, simulate
from trusting.trails import database

MONTHS = (0, 4, 12, 60)
BACKLOGS = (20_000, 100_000, 300_000)
ARRIVALS = (500, 1_000, 2_000, 5_000, 10_000)
CLOCK = "ALTER TABLE audit_event ALTER recorded_at SET DEFAULT "
MONTH = "date_trunc('month', now()) + interval '14 days' + {n} * interval '1 month'"


@contextmanager
def place(partitions: int = 0) -> Iterator[Place]:
    """Create an empty trail with so many months, beginning with this one; 0 is one table."""
    with database("postgresql") as (engine, tables):
        made = Place(engine=engine, tables=tables)
        if partitions:
            with engine.begin() as connection:
                partition_audit_event(Operations(MigrationContext.configure(connection)))
            months = (MONTH.format(n=n) for n in range(1, partitions))
            made.do(*(f"SELECT auditspan_make_partition({month})" for month in months))
        yield made


def print_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table in Markdown."""
    print(f"\n| {' | '.join(names)} |\n| --- {'| --: ' * (len(names) - 1)}|")
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        print(f"| {' | '.join(cells)} |", flush=True)


def sizes(rows: int) -> None:
    """Bytes on the disk, and in the WAL."""
    with place() as made:
        began = made.ask("SELECT pg_current_wal_insert_lsn()")
        made.write(rows)
        written = made.ask("SELECT pg_current_wal_insert_lsn()")
        made.seal()
        sealed = made.ask("SELECT pg_current_wal_insert_lsn()")
        body = made.ask("SELECT avg(length(body)) FROM audit_event")
        names = "'audit_event', 'audit_leaf'"
        query = f"""
            SELECT c.relname, pg_relation_size(c.oid) FROM pg_class c
              LEFT JOIN pg_index i ON i.indexrelid = c.oid
             WHERE c.relname IN ({names}) OR i.indrelid IN (SELECT oid FROM pg_class
                                                            WHERE relname IN ({names}))
             ORDER BY i.indrelid IS NOT NULL, c.relname
        """  # noqa: S608 (no input)
        with made.engine.connect() as connection:
            found = [(name, round(size / rows)) for name, size in connection.execute(text(query))]
        wal = [
            ("WAL to write it", made.ask(f"SELECT '{written}'::pg_lsn - '{began}'::pg_lsn")),
            ("WAL to seal it", made.ask(f"SELECT '{sealed}'::pg_lsn - '{written}'::pg_lsn")),
        ]
    total = ("table, leaves and indexes", sum(size for _, size in found))
    lines = [*found, total, *((name, round(size / rows)) for name, size in wal)]
    print_table((f"{rows:,} rows, bodies of {body:.0f} bytes", "bytes a row"), lines)


def partitions(rows: int) -> None:
    """Rates by the number of partitions; the rows are spread over all but the last three."""
    lines = []
    for count in MONTHS:
        with place(count) as made:
            filled = max(count - 3, 1)
            for n in range(filled):
                if count:
                    made.do(f"{CLOCK} {MONTH.format(n=n)}")
                made.write(rows // filled)
            made.do("ANALYZE")
            lines.append((count or "one table", *rates(made, rows)))
    names = ("partitions", "seal /s", "verify /s", "relay /s", "newest 50, ms", "one event, ms")
    print_table(names, lines)


def rates(made: Place, rows: int) -> tuple[object, ...]:
    """Return the rates of a trail of this shape."""
    found: list[int | str] = [round(rate(rows, made.seal))]
    made.do("ANALYZE")
    found += [round(rate(rows, made.verify, tries=2)), round(rate(rows, made.relay, tries=2))]
    with made.engine.connect() as connection:
        some = str(connection.scalar(text("SELECT event_id FROM audit_event LIMIT 1 OFFSET 999")))
        found += [
            millis(lambda: find_events(connection, made.tables, EventFilter(), limit=50)),
            millis(lambda: get_event(connection, made.tables, some)),
        ]
    return tuple(found)


def millis(work: Callable[[], object]) -> str:
    """The median of some calls."""
    taken = []
    for _ in range(30):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return f"{statistics.median(taken):.1f}"


def backlog() -> None:
    """Return the rate at which a sealer catches up after an outage."""
    lines = []
    for rows in BACKLOGS:
        with place() as made:
            made.write(rows)
            made.do("ANALYZE")
            lines.append((rows, round(rate(rows, made.seal))))
    print_table(("rows that wait", "seal /s"), lines)


def load(per_second: int, seconds: float) -> None:
    """Return the rates of a worker on this machine beside this load."""
    with place() as made:
        lines = steady_load(made, per_second, seconds)
    print_table(("seconds", "written", "sealed", "relayed"), lines)


def simulation(rows: int) -> None:
    """Queues at several rates, with the costs of this machine."""
    with place() as made:
        made.write(rows)
        made.do("ANALYZE")
        seal = rate(rows, made.seal)
        relay = rate(rows, made.relay, tries=2)
    stages = (
        Stage(name="seal", batch=BATCH, per_second=seal, pause=0.25),
        Stage(name="relay", batch=1024, per_second=relay, pause=0.25),
    )
    print(f"\nSealing {seal:,.0f} rows a second, relaying {relay:,.0f}.")
    lines = []
    for arrivals in ARRIVALS:
        result = simulate(arrivals, stages, seconds=60)
        lines.append((arrivals, *(f"{one:,.0f}" for one in result.waiting), result.lag()))
    print_table(
        ("events /s", "unsealed after 60 s", "unsent after 60 s", "p99, commit to sink"), lines
    )


def main() -> None:
    """Measure what is asked for; by default all of it."""
    parser = argparse.ArgumentParser(description="Measure how a trail grows.")
    known = ("sizes", "partitions", "backlog", "load", "simulation")
    parser.add_argument("what", nargs="*", choices=[*known, []], metavar="|".join(known))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=10_000, help="of the load, rows a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the load")
    given = parser.parse_args()
    wanted: dict[str, Callable[[], None]] = {
        "sizes": lambda: sizes(given.rows),
        "partitions": lambda: partitions(given.rows),
        "backlog": backlog,
        "load": lambda: load(given.rate, given.seconds),
        "simulation": lambda: simulation(given.rows),
    }
    for name in given.what or known:
        wanted[name]()


if __name__ == "__main__":
    main()
