"""Sealing, verifying and relaying per second, and commit-to-file latency, beside their floors.

    .venv/bin/python benchmarks/trust.py [--rows 20000] [--delivered 100000] [--seconds 10] [--json]

On SQLite and on a real PostgreSQL (that of the tests); delivery and latency with the real
collector. A floor is the least work that the task needs, or a program that people use today,
measured in the same minute; the ratio is what to compare between machines. On a busy machine look
at the CPU time, too: that of this process, without the database's server. Exits with 1 if a goal is
missed.
"""

# ruff: noqa: T201 (a script, which prints)

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from trusting.delivering import delivering
from trusting.latency import LOADS, latency
from trusting.rates import Result
from trusting.relaying import relaying
from trusting.sealing import SHARES, sealing, verifying
from trusting.trails import database, seal, write


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description="Measure sealing, verifying and relaying.")
    parser.add_argument("--rows", type=int, default=20_000, help=f"multiple of {SHARES}")
    parser.add_argument("--delivered", type=int, default=100_000, help="rows for the collector")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the latency's load")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    given = parser.parse_args()
    missed = False
    for result in measure(given.rows, given.delivered, given.seconds):
        missed |= not result.reached
        print(json.dumps(asdict(result)) if given.json else result.line(), flush=True)
    print(f"load averages: {', '.join(f'{one:.1f}' for one in os.getloadavg())}", file=sys.stderr)
    sys.exit(1 if missed else 0)


def measure(rows: int, delivered: int, seconds: float) -> Iterator[Result]:
    """Every figure."""
    for kind in ("sqlite", "postgresql"):
        with database(kind) as (engine, tables):
            yield sealing(kind, engine, tables, rows)
            yield verifying(kind, engine, tables, rows)
            yield from relaying(kind, engine, tables, rows)
    with database("postgresql") as (engine, tables):
        write(engine, tables, range(delivered))
        seal(engine, tables)
        yield from delivering(engine, tables, delivered)
    for load in LOADS:
        yield latency(load, seconds)


if __name__ == "__main__":
    main()
