"""Rate of the service beside itself without audit and beside a bare Flask application.

    make bench-service BENCH_ARGS="[--rounds 5] [--seconds 4] [--clients 64] [--json]"

Each subject runs under gunicorn with 8 threads in a process, on a database of its own in the
PostgreSQL of the tests, and exports to one real collector: the service with everything on and its
worker (`audited`), a hand-written trail in its place (`floor`), the same service with its models
exempt (`exempt`), and a Flask application with the two OpenTelemetry instrumentations that does the
same statements (`bare`). They are measured one after the other in every round, each time beginning
with another one. Client, servers, PostgreSQL and collector share the cores of this machine, so the
CPU time of all of them for one request limits the requests/s. The first table says how many CPUs
there are, and how many of them a measurement kept busy.

Exits with 1 if a goal is missed.
"""

# ruff: noqa: T201 (a script, which prints)

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict, astuple, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from serving.cpu import Cpu
from serving.goals import goals
from serving.measurements import MANY, Case, Measured, Results, measure
from serving.subjects import NAMES, PROCESSES, RECORDING, subjects

CPUS = len(os.sched_getaffinity(0))
"""Those that these programs may use; a goal for two processes needs more than one of them uses."""


def cases(given: argparse.Namespace) -> list[Case]:
    """The kinds of load that are asked for."""
    return [
        Case(operation=operation, clients=clients, processes=processes)
        for processes in given.processes
        for clients in given.clients
        for operation in given.operations
    ]


def options() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, MANY])
    parser.add_argument("--processes", type=int, nargs="+", default=[*PROCESSES])
    parser.add_argument("--operations", nargs="+", default=["POST", "PATCH"])
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def rows(results: Results) -> list[tuple[Case, str, Measured]]:
    """The medians in the order of the cases."""
    return [
        (case, name, found)
        for case in results.cases
        for name in NAMES
        if (found := results.median(case, name))
    ]


def show(results: Results) -> None:
    """Print the tables for docs/explanation/performance.md."""
    print(f"CPUs of this machine that these programs share: {CPUS}\n")
    print("| | | requests/s | p50 ms | p99 ms | CPUs used |\n| --- | --- |" + " --: |" * 4)
    for case, name, one in rows(results):
        numbers = f"{one.per_second:.0f} | {one.median:.1f} | {one.p99:.1f} | {one.cpus_used:.2f}"
        print(f"| {case} | {name} | {numbers} |")
    names = [one.name for one in fields(Cpu)]
    print(f"\n| CPU ms a request | | {' | '.join(names)} | total |\n| --- | --- |" + " --: |" * 6)
    for case, name, one in rows(results):
        numbers = " | ".join(f"{part:.2f}" for part in (*astuple(one.cpu), one.cpu.total))
        print(f"| {case} | {name} | {numbers} |")
    show_shares(results)
    print("\n| goal | measured | met |\n| --- | --: | --- |")
    for goal in goals(results):
        print(f"| {goal.claim} | {goal.measured:.2f} | {'yes' if goal.is_met else 'no'} |")


def show_shares(results: Results) -> None:
    """Print what the service and its floor reach of the others, by requests/s and by CPU time."""
    print("\n| share reached: requests/s, by CPU time | | exempt | bare | floor |")
    print("| --- | --- |" + " --: |" * 3)
    for case in results.cases:
        for name in RECORDING:
            cells = [
                f"{ratio:.2f}, {results.cpu_ratio(case, other, name):.2f}"
                if (ratio := results.ratio(case, name, other)) and name != other
                else ""
                for other in ("exempt", "bare", "floor")
            ]
            print(f"| {case} | {name} | {' | '.join(cells)} |")


def as_json(results: Results) -> str:
    """Every single run, for a program."""
    runs = [
        {**asdict(case), "subject": name, **asdict(one)}
        for (case, name), found in results.found.items()
        for one in found
    ]
    return json.dumps(
        {"cpus": CPUS, "runs": runs, "goals": [asdict(goal) for goal in goals(results)]}
    )


def main() -> int:
    """Measure, print and judge."""
    given = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the programs are ended, too
    with tempfile.TemporaryDirectory() as folder, subjects(Path(folder)) as everyone:
        results = measure(
            everyone,
            cases(given),
            rounds=given.rounds,
            seconds=given.seconds,
            say=lambda text: print(text, file=sys.stderr),
        )
    if given.json:
        print(as_json(results))
    else:
        show(results)
    return 0 if all(goal.is_met for goal in goals(results)) else 1


if __name__ == "__main__":
    sys.exit(main())
