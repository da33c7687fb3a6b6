"""Times and peak memory of a long trail: written, sealed, relayed, verified and reconciled.

    .venv/bin/python benchmarks/million.py [--rows 1000000] [--database sqlite] [--json]

Each step is a process of its own. Its time is that of the work, without the start of Python, and
its peak memory is that of the process: PostgreSQL's server (that of the tests) and the collector
are not in it. The relay sends to the real collector, whose
files are reconciled. The peak of `reconcile` has a goal; a trail ten times as long must not need
more.
"""

# ruff: noqa: T201 (a script, which prints)

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy import MetaData

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from auditspan.delivery import OtlpSink, Relay
from auditspan.seal import Sealer
from auditspan.storage import audit_tables, snapshot
from auditspan.verify import reconcile, verify_trail
from auditspan.verify.processes import cores
from auditspan_service.database.engine import make_engine
from support.collector import collector_binary, run_collector
from trusting.trails import KEY, MAC, database, write

MAX_MIB = 150
"""The goal for the peak memory of `reconcile`."""
MIN_FASTER = 1.7
"""The goal for verifying by several processes, as a multiple of the rate of one."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The trail of a run, and the collector that it is delivered to."""

    rows: int
    database_url: str
    endpoint: str
    files: Path


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run, with the peak memory of its process."""

    name: str
    rows: int
    seconds: float
    peak_mib: float

    @property
    def reached(self) -> bool:
        """Return whether the step needed no more memory than allowed."""
        return self.name != "reconcile" or self.peak_mib <= MAX_MIB

    def line(self) -> str:
        """For people."""
        goal = f"; goal {MAX_MIB} MiB: {'reached' if self.reached else 'MISSED'}"
        return (
            f"{self.name:13} {self.rows:10,} rows {self.seconds:8.1f} s "
            f"{self.rows / self.seconds:10,.0f} /s   peak {self.peak_mib:6.1f} MiB"
            f"{goal if self.name == 'reconcile' else ''}"
        )


def writing(place: Place) -> None:
    """Commit the rows, a thousand at a time."""
    engine = make_engine(place.database_url)
    write(engine, audit_tables(MetaData()), range(place.rows))


def sealing(place: Place) -> None:
    """Seal everything."""
    engine = make_engine(place.database_url)
    sealer = Sealer(engine, audit_tables(MetaData()), signing_key=KEY, mac_key=MAC)
    while sealer.seal():
        pass


def relaying(place: Place) -> None:
    """Deliver everything to the collector."""
    engine = make_engine(place.database_url)
    relay = Relay(engine, audit_tables(MetaData()), OtlpSink(place.endpoint))
    with engine.connect() as connection:
        assert relay.deliver(connection) == place.rows  # noqa: S101 (else the figure is none)


def verifying(place: Place) -> None:
    """Verify everything."""
    with snapshot(make_engine(place.database_url)) as connection:
        report = verify_trail(connection, audit_tables(MetaData()), MAC, [KEY.public])
    assert (report.ok, report.tree_size) == (True, place.rows)  # noqa: S101


def verifying_on_all_cores(place: Place) -> None:
    """Verify everything, by a process on each processor."""
    with snapshot(make_engine(place.database_url)) as connection:
        tables, keys = audit_tables(MetaData()), [KEY.public]
        report = verify_trail(connection, tables, MAC, keys, processes=cores())
    assert (report.ok, report.tree_size) == (True, place.rows)  # noqa: S101


def reconciling(place: Place) -> None:
    """Compare every row with the collector's files."""
    with snapshot(make_engine(place.database_url)) as connection:
        report = reconcile(connection, audit_tables(MetaData()), [place.files])
    assert (report.ok, report.found) == (True, place.rows)  # noqa: S101


STEPS: dict[str, Callable[[Place], None]] = {
    "write": writing,
    "seal": sealing,
    "relay": relaying,
    "verify": verifying,
    "verify on all": verifying_on_all_cores,
    "reconcile": reconciling,
}


def measured(name: str, place: Place) -> Step:
    """Run a step in a new process."""
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=timed, args=(name, place, sender))
    process.start()
    peak = 0
    while process.is_alive():
        peak = max(peak, peak_kib(process.pid or 0))
        process.join(0.02)
    if process.exitcode:
        raise SystemExit(f"{name} failed")
    return Step(name=name, rows=place.rows, seconds=receiver.recv(), peak_mib=peak / 1024)


def timed(name: str, place: Place, sender: Connection) -> None:
    """Run a step in this process, and send the seconds that it took."""
    began = time.perf_counter()
    STEPS[name](place)
    sender.send(time.perf_counter() - began)


def peak_kib(pid: int | str = "self") -> int:
    """The peak of the resident memory so far, of this process or a child; 0 once it has ended."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except OSError:
        children = []
    return max([memory_kib("VmHWM", pid), *(peak_kib(int(child)) for child in children)])


def memory_kib(name: str, pid: int | str = "self") -> int:
    """A figure of a process's memory; 0 once the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(found[0]) if found else 0


@contextmanager
def prepared(kind: str, rows: int) -> Iterator[Place]:
    """An empty trail, and a collector."""
    with (
        database(kind) as (engine, _),
        tempfile.TemporaryDirectory() as folder,
        run_collector(collector_binary(), Path(folder)) as collector,
    ):
        yield Place(
            rows=rows,
            database_url=engine.url.render_as_string(hide_password=False),
            endpoint=collector.audit_endpoint,
            files=collector.audit_files,
        )


def main() -> None:
    """Measure, and print a line for each step."""
    parser = argparse.ArgumentParser(description="Measure a long trail from end to end.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    given = parser.parse_args()
    steps: dict[str, Step] = {}
    with prepared(given.database, given.rows) as place:
        for name in STEPS:
            step = steps[name] = measured(name, place)
            print(json.dumps(asdict(step)) if given.json else step.line(), flush=True)
    faster = steps["verify"].seconds / steps["verify on all"].seconds
    is_faster = faster >= MIN_FASTER or cores() == 1
    verdict = "reached" if is_faster else "MISSED"
    loads = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"verified {faster:.2f} times as fast by {cores()} processes; goal {MIN_FASTER} on two "
        f"processors: {verdict}; load averages {loads}",
        file=sys.stderr,
    )
    sys.exit(0 if is_faster and all(step.reached for step in steps.values()) else 1)


if __name__ == "__main__":
    main()
