"""Cost of capturing a change: auditspan beside no audit, a floor, and other libraries.

    python benchmarks/capture.py [--rounds 9] [--only NAME ...] [--json]

`make bench` runs it with what it needs. See docs/explanation/performance.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from capturing.databases import POSTGRESQL, SQLITE, VARIABLE, servers
from capturing.report import as_json, as_text
from capturing.results import Results
from capturing.rounds import Plan, measure
from capturing.subjects import FLOOR, NONE, subjects_on
from capturing.workloads import WORKLOADS

_DATABASES = (SQLITE, POSTGRESQL)
_SUBJECTS = subjects_on(POSTGRESQL)


def main() -> None:
    """Measure, and tell."""
    options = _options()
    only = options.only or []
    databases = _chosen(_DATABASES, only)
    results = Results()
    with servers(databases) as found:
        for database, server in found.items():
            plan = Plan(
                database=database,
                server=server,
                subjects=_subjects(database, only),
                workloads=_chosen(tuple(WORKLOADS), only),
                rounds=options.rounds,
            )
            measure(plan, results)
    tell = as_json if options.json else as_text
    sys.stdout.write(tell(results, databases, options.rounds) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="What capturing a change costs, beside no audit, a floor and other libraries.",
        epilog=f"{VARIABLE} names a PostgreSQL server to use; else one is started from a wheel.",
    )
    parser.add_argument("--rounds", type=_positive, default=9, help="default: 9")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=[*_DATABASES, *WORKLOADS, *_SUBJECTS],
        help="a database, a workload or a subject; may be given several times. "
        "No audit and the floor always run. One of: %(choices)s",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("there must be at least one round")
    return number


def _chosen(names: Sequence[str], only: Sequence[str]) -> list[str]:
    """Those that are named, or all where none of them is."""
    return [name for name in names if name in only] or list(names)


def _subjects(database: str, only: Sequence[str]) -> list[str]:
    chosen = _chosen(_SUBJECTS, only)
    return [s for s in subjects_on(database) if s in chosen or s in {NONE, FLOOR}]


if __name__ == "__main__":
    main()
