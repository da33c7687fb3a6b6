"""Times of the viewer's pages on a large trail.

    .venv/bin/python benchmarks/pages.py [--rows 1000000] [--tries 40] [--json]

On a real PostgreSQL (that of the tests), with the trail of `search.py`, by Flask's test client: the
durations are those of whole requests, with the record of each view, without the network. Every
page is asked for at random values.

The verdict is about CPU time, of the application and of the server's processes, which other
programs on the machine do not change; it is what a request takes on an idle machine. The exit code
is 1 if a page misses the goal, but for the search for `text`, which reads every body.
"""

# ruff: noqa: T201, S311 (a script, which prints, and draws samples)

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, MetaData, text
from sqlalchemy.orm import sessionmaker

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from auditspan import Actor, AuditTrail
from auditspan.flask import AuditExtension
from auditspan_service.database.engine import make_engine
from search import fill
from support.postgres import migrated_database

GOAL = 200.0
"""The goal for the 95th percentile, in milliseconds of CPU time."""

WITHOUT_GOAL = {"trail, text"}

DELIVERED = "INSERT INTO audit_delivery VALUES ('otlp', :seq, :seq, now())"

PAGES: dict[str, Callable[[int], str]] = {
    "trail": lambda _: "/",
    "trail, older page": lambda n: f"/?before={n}",
    "trail, of an actor": lambda n: f"/?actor={n % 1000}",
    "trail, not of an actor": lambda n: f"/?actor!={n % 1000}",
    "trail, by name": lambda n: f"/?actor=user+{n % 1000}",
    "trail, action": lambda n: f"/?action=type{n % 20}.*",
    "trail, failures": lambda _: "/?outcome=failure",
    "trail, of a target": lambda n: f"/?target_type=type{n % 20}&target_id={n % 100}",
    "trail, changed column": lambda n: f"/?field=column{n % 40}",
    "trail, text": lambda n: f"/?text=request-{n}",
    "integrity": lambda _: "/integrity",
    "trace": lambda n: f"/traces/{n:032x}",
}


def make_client(url: str) -> FlaskClient:
    """An application with the viewer, and nothing else."""
    app = Flask(__name__)
    trail = AuditTrail(sessionmaker(make_engine(url)), metadata=MetaData(), mac_key=None)
    AuditExtension(
        trail, actor=lambda: Actor.user(1), viewer="/audit", can_view=lambda: True
    ).init_app(app)
    return app.test_client()


class Times(NamedTuple):
    """Median and 95th percentile of durations and of CPU times, in milliseconds."""

    median: float
    p95: float
    cpu_median: float
    cpu_p95: float


class Processors:
    """The CPU time that this process and the sessions of a server have used, in milliseconds."""

    def __init__(self, engine: Engine) -> None:
        with engine.connect() as connection:
            own = "pid = pg_backend_pid() OR backend_type = 'client backend'"
            found = connection.scalars(text(f"SELECT pid FROM pg_stat_activity WHERE {own}"))  # noqa: S608 (constant)
            self._files = [Path(f"/proc/{pid}/schedstat") for pid in found]

    def used(self) -> float:
        """The time until now."""
        of_server = sum(int(one.read_text().split()[0]) for one in self._files if one.exists())
        return (time.process_time_ns() + of_server) / 1e6


def measure(client: FlaskClient, processors: Processors, page: str, rows: int, tries: int) -> Times:
    """The times of a page."""
    durations, used = [], []
    for _ in range(tries):
        path = PAGES[page](random.randrange(1, rows))
        begun, before = time.perf_counter(), processors.used()
        response = client.get(f"/audit{path}")
        used.append(processors.used() - before)
        durations.append((time.perf_counter() - begun) * 1000)
        if response.status_code not in {200, 404}:
            raise SystemExit(f"{path} answered {response.status}")
    return Times(*(round(figure, 1) for one in (durations, used) for figure in _figures(one)))


def _figures(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def main() -> None:
    """Fill the trail, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tries", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with migrated_database() as url:
        engine = make_engine(url)
        with engine.begin() as connection:
            fill(connection, given.rows)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE audit_event, audit_leaf"))
            connection.execute(text(DELIVERED), {"seq": given.rows - 1})
        client = make_client(url)
        for _ in range(5):  # connections, templates
            client.get("/audit/")
        processors = Processors(engine)
        found = {page: measure(client, processors, page, given.rows, given.tries) for page in PAGES}
        engine.dispose()
    is_met = all(one.cpu_p95 <= GOAL for page, one in found.items() if page not in WITHOUT_GOAL)
    if given.json:
        print(json.dumps({page: one._asdict() for page, one in found.items()}))
    else:
        print_table(found, given.rows)
        print(f"goal: {GOAL:.0f} ms of CPU time at p95: {'met' if is_met else 'MISSED'}")
    raise SystemExit(0 if is_met else 1)


def print_table(found: Mapping[str, Times], rows: int) -> None:
    """Print the times of each page."""
    load, cores = os.getloadavg()[0], os.cpu_count()
    print(f"{rows} rows, load {load:.1f} on {cores} cores; milliseconds")
    print(f"{'':26}{'CPU time':^16}{'duration':^16}")
    print(f"{'page':26}{'median':>8}{'p95':>8}{'median':>8}{'p95':>8}")
    for page, one in found.items():
        mark = "  (no goal: it reads every body)" if page in WITHOUT_GOAL else ""
        print(
            f"{page:26}{one.cpu_median:8.1f}{one.cpu_p95:8.1f}{one.median:8.1f}{one.p95:8.1f}{mark}"
        )


if __name__ == "__main__":
    main()
