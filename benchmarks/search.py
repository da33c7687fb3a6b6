"""Times of each filter of a search on a large trail, and the cost of its indexes.

    make bench-search BENCH_ARGS="[--rows 1000000] [--tries 40] [--filters until …] [--json]"

On a real PostgreSQL (that of the tests). Each filter is asked for its first page and a late page
of 50 events, at random ones of its values; the 95th percentile is that of the query with the
parsing of the events, without HTTP. The cost of the indexes is the duration of INSERTs of one row
each, as capture makes them, with all indexes divided by that with those that sealing needs.

Exits with 1 if a filter misses the goal.
"""

# ruff: noqa: T201, S311 (a script, which prints, and draws samples)

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, MetaData, text

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from auditspan import Actor, Request, Service, Target
from auditspan.format import AuditRecord, uuid7
from auditspan.storage import EventFilter, audit_tables, find_events, insert_records
from auditspan_service.database.engine import make_engine
from support.postgres import migrated_database

TABLES = audit_tables(MetaData())
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 51
GOAL = 50.0
"""The goal for the 95th percentile, in milliseconds."""

FILTERS: dict[str, Callable[[int], EventFilter]] = {
    "none": lambda _: EventFilter(),
    "actor": lambda n: EventFilter(actor=str(n % 1000)),
    "label": lambda n: EventFilter(actor_label=f"user {n % 1000}"),
    "target": lambda n: EventFilter(target_type=f"type{n % 20}", target_id=str(n % 100)),
    "target_type": lambda n: EventFilter(target_type=f"type{n % 20}"),
    "target_id": lambda n: EventFilter(target_id=str(n % 100)),
    "action": lambda n: EventFilter(action=f"type{n % 20}.update"),
    "action, wildcard": lambda n: EventFilter(action=f"type{n % 20}.*"),
    "outcome": lambda _: EventFilter(outcome="failure"),
    "since": lambda n: EventFilter(since=BEGINNING + timedelta(seconds=n)),
    "until": lambda n: EventFilter(until=BEGINNING + timedelta(seconds=n)),
    "an hour": lambda n: EventFilter(
        since=BEGINNING + timedelta(seconds=n), until=BEGINNING + timedelta(seconds=n + 3600)
    ),
    "tx_id": lambda n: EventFilter(tx_id=f"tx-{n}"),
    "trace_id": lambda n: EventFilter(trace_id=f"{n:032x}"),
    "request_id": lambda n: EventFilter(request_id=f"request-{n}"),
    "tenant": lambda n: EventFilter(tenant=f"tenant-{n % 50}"),
    "field": lambda n: EventFilter(field=f"column{n % 40}"),
    "on_behalf_of": lambda n: EventFilter(on_behalf_of=f"boss {n % 100}"),
    "not actor": lambda n: EventFilter(exclude=EventFilter(actor=str(n % 1000))),
    "not field": lambda n: EventFilter(exclude=EventFilter(field=f"column{n % 40}")),
}
ROW = """
INSERT INTO audit_event (event_id, occurred_at, actor_type, actor_id, action, outcome, target_type,
    target_id, trace_id, tx_id, tenant, body)
SELECT gen_random_uuid(), :beginning + n * interval '1 second', 'user', CAST(n % 1000 AS text),
    'type' || n % 20 || '.update', CASE WHEN n % 100 = 0 THEN 'failure' ELSE 'success' END,
    'type' || n % 20, CAST(n % 100 AS text), lpad(to_hex(n), 32, '0'), 'tx-' || n,
    'tenant-' || n % 50,
    replace(replace(replace(replace(replace(:body, 'type1', 'type' || n % 20),
        '@user', 'user ' || n % 1000),
        '@request', 'request-' || n), '@column', 'column' || n % 40), '@boss', 'boss ' || n % 100)
FROM generate_series(1, :rows) n
"""
SEAL = """
INSERT INTO audit_leaf (seq, row_id, event_id, leaf_hash)
SELECT row_number() OVER (ORDER BY id) - 1, id, event_id, decode(md5(tx_id), 'hex')
FROM audit_event
"""
SEARCH_ONLY = (
    *("target", "actor", "trace", "target_id", "action", "tx", "occurred", "outcome", "tenant"),
    "terms",
)
"""The indexes that only searches use, without their prefix."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Durations of one filter in milliseconds; a late page is the 1,000th, or the last one."""

    name: str
    first_p95: float
    late_p95: float

    @property
    def is_met(self) -> bool:
        """True if both are within the goal."""
        return max(self.first_p95, self.late_p95) <= GOAL


def new_id(number: int) -> str:
    """An id that grows with the number."""
    return uuid7(number, random.randbytes(10))


def record(number: int) -> AuditRecord:
    """An event as an application makes them."""
    return AuditRecord(
        event_id=new_id(number),
        occurred_at=BEGINNING,
        action="type1.update",
        outcome="success",
        actor=Actor.user(number % 1000, label="@user"),
        on_behalf_of=Actor.user(9, label="@boss"),
        target=Target(type="type1", id=str(number)),
        changes={"@column": {"old": "kim@example.org", "new": "park@example.org"}},
        request=Request(id="@request", client_address="198.51.100.7", method="PATCH"),
        trace_id=f"{random.getrandbits(128):032x}",
        tx_id=new_id(number),
        service=Service(name="benchmark"),
    )


def fill(connection: Connection, rows: int) -> None:
    """Make the trail."""
    given = {"rows": rows, "body": record(1).body(), "beginning": BEGINNING}
    connection.execute(text(ROW), given)
    connection.execute(text(SEAL))


def measure(connection: Connection, name: str, rows: int, tries: int) -> Result:
    """Search for random values."""
    first, late = [], []
    for _ in range(tries):
        wanted = FILTERS[name](random.randrange(1, rows))
        first.append(timed(connection, wanted, None))
        late.append(timed(connection, wanted, before_late_page(connection, wanted)))
    return Result(name=name, first_p95=p95(first), late_p95=p95(late))


def before_late_page(connection: Connection, wanted: EventFilter) -> int | None:
    """The cursor of the 1,000th page, or of the last one."""
    event = TABLES.event
    ids = connection.execute(
        event.select()
        .with_only_columns(event.c.id)
        .where(*wanted.conditions(event))
        .order_by(event.c.id.desc())
        .limit((LIMIT - 1) * 999)
    ).scalars()
    return min(ids, default=None)


def timed(connection: Connection, wanted: EventFilter, before: int | None) -> float:
    """The duration of a page, in milliseconds."""
    begun = time.perf_counter()
    for event in find_events(connection, TABLES, wanted, before=before, limit=LIMIT):
        event.resource()
    return (time.perf_counter() - begun) * 1000


def p95(durations: list[float]) -> float:
    """The 95th percentile."""
    return round(statistics.quantiles(durations, n=20)[-1], 1)


def inserting(connection: Connection, rows: int) -> float:
    """The median duration of an INSERT of one row, in microseconds."""
    durations = []
    for number in range(rows):
        one = record(number)
        begun = time.perf_counter()
        insert_records(connection, TABLES, [one], None)
        durations.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(durations)


def cost(connection: Connection, rows: int) -> tuple[float, float]:
    """The duration of INSERTs with all indexes, as a multiple of that without those of searches.

    And in microseconds.
    """
    ratios, everything = [], 0.0
    for _ in range(3):
        everything = inserting(connection, rows)
        with connection.begin_nested() as savepoint:
            for name in SEARCH_ONLY:
                connection.execute(text(f"DROP INDEX ix_audit_event_{name}"))
            ratios.append(everything / inserting(connection, rows))
            savepoint.rollback()
    return round(statistics.median(ratios), 2), everything


def main() -> None:
    """Fill the trail, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tries", type=int, default=40)
    parser.add_argument("--filters", nargs="+", default=[*FILTERS], choices=FILTERS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with migrated_database() as url:
        engine = make_engine(url)
        with engine.begin() as connection:
            fill(connection, given.rows)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE audit_event, audit_leaf"))
        with engine.connect() as connection:
            results = [measure(connection, name, given.rows, given.tries) for name in given.filters]
            ratio = cost(connection, 2000)
        engine.dispose()
    if given.json:
        print(json.dumps({"filters": [asdict(one) for one in results], "insert": ratio}))
    else:
        show(given.rows, results, ratio)
    sys.exit(0 if all(one.is_met for one in results) else 1)


def show(rows: int, results: list[Result], ratio: tuple[float, float]) -> None:
    """Print a table with a verdict for each filter."""
    print(f"{rows} rows; p95 in ms, goal {GOAL:.0f}\n{'filter':20}{'first':>8}{'late':>8}")
    for one in results:
        verdict = "reached" if one.is_met else "MISSED"
        print(f"{one.name:20}{one.first_p95:8.1f}{one.late_p95:8.1f}  {verdict}")
    print(
        f"an INSERT takes {ratio[0]} times as long with the indexes of searches: {ratio[1]:.0f} us"
    )


if __name__ == "__main__":
    main()
