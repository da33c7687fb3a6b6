"""How long the pages of the viewer take on a large trail.

    .venv/bin/python benchmarks/pages.py [--rows 1000000] [--tries 40] [--json]

On a real PostgreSQL (that of the tests), with the trail of `search.py`, by Flask's test client: the
durations are those of whole requests, with the record of each view, without the network. Every
page is asked for at random values.
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
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import MetaData, text
from sqlalchemy.orm import sessionmaker

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from auditspan import Actor, AuditTrail
from auditspan.flask import AuditExtension
from auditspan_service.database.engine import make_engine
from search import fill
from support.postgres import migrated_database

GOAL = 200.0
"""The goal for the 95th percentile, in milliseconds."""

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


def measure(client: FlaskClient, page: str, rows: int, tries: int) -> tuple[float, float]:
    """The median and the 95th percentile of the durations of a page, in milliseconds."""
    durations = []
    for _ in range(tries):
        path = PAGES[page](random.randrange(1, rows))
        begun = time.perf_counter()
        response = client.get(f"/audit{path}")
        durations.append((time.perf_counter() - begun) * 1000)
        if response.status_code not in {200, 404}:
            raise SystemExit(f"{path} answered {response.status}")
    return round(statistics.median(durations), 1), round(
        statistics.quantiles(durations, n=20)[-1], 1
    )


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
        engine.dispose()
        client = make_client(url)
        measure(client, "trail", given.rows, 5)  # connections, templates
        found = {page: measure(client, page, given.rows, given.tries) for page in PAGES}
    if given.json:
        print(json.dumps(found))
        return
    load, cores = os.getloadavg()[1], os.cpu_count()
    print(f"{given.rows} rows, load {load:.1f} on {cores} cores; ms, goal {GOAL:.0f} for p95")
    print(f"{'page':26}{'median':>8}{'p95':>8}")
    for page, (median, p95) in found.items():
        mark = "" if p95 <= GOAL else "  slower than the goal"
        print(f"{page:26}{median:8.1f}{p95:8.1f}{mark}")


if __name__ == "__main__":
    main()
