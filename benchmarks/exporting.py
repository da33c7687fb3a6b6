"""The peak memory of an export of a long trail, in the service and on the command line.

    make bench-export BENCH_ARGS="[--rows 1000000] [--ways service] [--forms csv …] [--json]"

On the PostgreSQL of the tests. The service answers `GET /v1/audit-events/export` under gunicorn, in
each of the four forms or in the given ones; its peak is that of the largest process. The command is
`auditspan export`. Memory must not depend on the number of rows.

Exits with 1 if a goal is missed.
"""

# ruff: noqa: T201 (a script, which prints)

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from auditspan_service.database.engine import make_engine
from integration.service.test_commands import Place
from integration.service.test_export_size import FORMS, fill, peak_of_children, peak_of_command
from integration.service.test_refused_requests import serving
from support.postgres import migrated_database

MAX_MIB = 150


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The peak memory of one way to export."""

    way: str
    rows: int
    seconds: float
    mib: float

    @property
    def is_met(self) -> bool:
        """Return whether it is within the goal."""
        return 0 < self.mib <= MAX_MIB

    def line(self) -> str:
        """Return it for people."""
        verdict = "reached" if self.is_met else "MISSED"
        return (
            f"{self.way:18} {self.rows:10,} rows {self.seconds:8.1f} s   peak {self.mib:6.1f} MiB; "
            f"goal {MAX_MIB} MiB: {verdict}"
        )


def peaks(rows: int, ways: list[str], forms: list[str]) -> Iterator[Peak]:
    """Fill a trail, and yield the peak of each way to export it."""
    with migrated_database() as url, tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder) / "data", url)
        place.objects("keys", "init")
        (made,) = place.objects("keys", "create", "--username", "kim", "--scope", "admin")
        engine = make_engine(url)
        with engine.begin() as connection:
            fill(connection, rows)
        engine.dispose()
        if "service" in ways:
            yield from _of_service(place, str(made["key"]), forms)
        if "command" in ways:
            began = time.perf_counter()
            yield _peak("command", rows, began, peak_of_command(place) / 1024)


def _of_service(place: Place, key: str, forms: list[str]) -> Iterator[Peak]:
    with serving(place) as port:
        for form in forms:
            began = time.perf_counter()
            count = _lines(f"http://127.0.0.1:{port}/v1/audit-events/export?format={form}", key)
            mib = peak_of_children(place.folder) / 1024
            yield _peak(f"service, {form}", count, began, mib)


def _peak(way: str, rows: int, began: float, mib: float) -> Peak:
    return Peak(way=way, rows=rows, seconds=time.perf_counter() - began, mib=mib)


def _lines(url: str, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.stream("GET", url, headers=headers, timeout=None) as response:  # noqa: S113 (ours)
        response.raise_for_status()
        return sum(part.count(b"\n") for part in response.iter_raw())


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description="Measure the memory of an export.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--ways", nargs="+", default=["service", "command"])
    parser.add_argument("--forms", nargs="+", default=[*FORMS], choices=FORMS)
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    given = parser.parse_args()
    missed = False
    for one in peaks(given.rows, given.ways, given.forms):
        missed |= not one.is_met
        print(json.dumps(asdict(one)) if given.json else one.line(), flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
