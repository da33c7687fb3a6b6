"""The results as Markdown tables for people, and as one JSON object for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from capturing.goals import Goal, goals
from capturing.results import MIB, Measured, Results
from capturing.subjects import FLOOR, NONE
from capturing.workloads import WORKLOADS

_PACKAGES = (
    "auditspan",
    "sqlalchemy",
    "psycopg",
    "sqlalchemy-continuum",
    "sqlalchemy-history",
    "postgresql-audit",
)


def progress(text: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def as_text(results: Results, databases: list[str], rounds: int) -> str:
    """Tables in Markdown."""
    lines = [_sentence(rounds), ""]
    for database in databases:
        for workload in WORKLOADS.values():
            found = [
                m for m in results.measured if (m.database, m.workload) == (database, workload.name)
            ]
            if found:
                lines += [f"**{database}: {workload.title}**", "", *_times(results, found), ""]
        lines += _memory(results, database)
    return "\n".join([*lines, *_goals(goals(results, databases))])


def as_json(results: Results, databases: list[str], rounds: int) -> str:
    """One object."""
    return json.dumps(
        {
            "environment": _environment(),
            "rounds": rounds,
            "results": [_measured(results, measured) for measured in results.measured],
            "memory": [
                {
                    "database": memory.database,
                    "subject": memory.subject,
                    "peak_bytes": memory.peak,
                    "growth_bytes": memory.growth,
                }
                for memory in results.memory
            ],
            "goals": [vars(goal) for goal in goals(results, databases)],
        }
    )


def _measured(results: Results, measured: Measured) -> dict[str, Any]:
    return {
        "database": measured.database,
        "workload": measured.workload,
        "subject": measured.subject,
        "seconds": measured.seconds,
        "median_seconds": measured.median,
        "cpu_seconds": measured.cpu,
        "of_no_audit": results.ratio(measured, NONE),
        "of_floor": results.ratio(measured, FLOOR),
        "cpu_of_floor": results.cpu_ratio(measured, FLOOR),
        "rows_written": measured.written,
        "rows_captured": measured.captured,
    }


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _sentence(rounds: int) -> str:
    found = _environment()
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    return (
        f"Medians of {rounds} rounds; Python {found['python']}, {found['machine']}, "
        f"{found['cpus']} CPUs; {packages}."
    )


def _times(results: Results, found: Iterable[Measured]) -> Iterator[str]:
    yield from _header(
        "", "ms", "times no audit", "times the floor", "CPU, times the floor", "rows captured"
    )
    for measured in found:
        yield _row(
            measured.subject,
            f"{1000 * measured.median:.0f}",
            _ratio(results.ratio(measured, NONE)),
            _ratio(results.ratio(measured, FLOOR)),
            _ratio(results.cpu_ratio(measured, FLOOR)),
            _captured(measured),
        )


def _captured(measured: Measured) -> str:
    if measured.subject == NONE:
        return ""
    captured = f"{measured.captured:,} of {measured.written:,}"
    return captured if measured.captured >= measured.written else f"**{captured}**"


def _memory(results: Results, database: str) -> Iterator[str]:
    found = [memory for memory in results.memory if memory.database == database]
    none = results.memory_of(database, NONE)
    if not found or none is None:
        return
    yield f"**{database}: peak memory of the bulk update, in a process of its own**"
    yield ""
    yield from _header("", "peak, MiB", "above no audit, MiB", "of it by the update, MiB")
    for memory in found:
        yield _row(
            memory.subject,
            f"{memory.peak / MIB:.0f}",
            f"{(memory.peak - none.peak) / MIB:.0f}",
            f"{(memory.growth - none.growth) / MIB:.0f}",
        )
    yield ""


def _goals(found: list[Goal]) -> Iterator[str]:
    if found:
        yield from _header("Goal", "on", "measured", "met")
    for goal in found:
        yield _row(goal.text, goal.database, f"{goal.measured:.2f}", "yes" if goal.is_met else "no")


def _header(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row("---", *("--:" for _ in cells[1:]))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
