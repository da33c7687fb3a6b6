"""Time to find a trace of the last hour in a large directory of collector files.

    .venv/bin/python benchmarks/traces.py [--megabytes 1000] [--tries 20] [--json]

The files are those of a day: rotated at 100 MB, with exports of 50 spans of ten traces each and
the log records of every tenth trace. Searches are for traces of the last twenty-fourth of the
bytes. The first one finds no index and searches the files as text; a thread then makes the index,
which the others use. They are compared with parsing every file. While they run, the live file
grows. `auditspan trace` is timed until its answer is printed, each time in a new process.

The verdict is about CPU time, which other programs on the machine do not change; it is what a
search takes on an idle machine. The exit code is 1 if a search took longer than the goal.
"""

# ruff: noqa: T201 (a script, which prints)

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from auditspan.telemetry.otlp import TraceFiles, read_logs, read_spans
from auditspan.telemetry.otlp.trace_files import INDEX_NAME
from auditspan.telemetry.otlp.trace_tree import build_trace

FILE_SIZE = 100_000_000
TRACES = 10
SPANS = 5
GOAL = 1000.0
"""The goal for a search, in milliseconds of CPU time."""

STATEMENT = "SELECT users.id, users.username, users.email FROM users WHERE users.id = %(pk_1)s"


def attribute(key: str, value: str) -> dict[str, object]:
    """An attribute as OTLP has it."""
    return {"key": key, "value": {"stringValue": value}}


def span(trace_id: str, moment: int) -> dict[str, object]:
    """A span of a statement."""
    return {
        "traceId": trace_id,
        "spanId": f"{random.getrandbits(64):016x}",
        "name": "SELECT auditspan.db",
        "kind": 3,
        "startTimeUnixNano": str(moment),
        "endTimeUnixNano": str(moment + 3_000_000),
        "attributes": [
            attribute("db.system.name", "postgresql"),
            attribute("db.query.text", STATEMENT),
            attribute("server.address", "127.0.0.1"),
        ],
        "status": {},
    }


def log(trace_id: str, moment: int) -> dict[str, object]:
    """A log record."""
    body = {"stringValue": "request finished"}
    return {"timeUnixNano": str(moment), "traceId": trace_id, "severityText": "INFO", "body": body}


def export(traces: list[str], moment: int) -> tuple[bytes, bytes]:
    """The lines of one export of spans, and of one of log records."""
    spans = [span(trace_id, moment) for trace_id in traces for _ in range(SPANS)]
    logs = [log(trace_id, moment) for trace_id in traces[:1]]
    return (
        _line("resourceSpans", {"scopeSpans": [{"scope": {}, "spans": spans}]}),
        _line("resourceLogs", {"scopeLogs": [{"scope": {}, "logRecords": logs}]}),
    )


def _line(top: str, scopes: dict[str, object]) -> bytes:
    group = {"resource": {"attributes": [attribute("service.name", "users")]}, **scopes}
    return json.dumps({top: [group]}, separators=(",", ":")).encode() + b"\n"


class Day:
    """The files of a day in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "telemetry"
        self.directory.mkdir()
        self.moment = 1_767_225_600_000_000_000
        self.size = 0
        self._files = 0

    def write(self, size: int) -> list[str]:
        """Append about this many bytes; return the traces."""
        traces: list[str] = []
        end = self.size + size
        spans, logs = (self.directory / f"{name}.jsonl" for name in ("traces", "logs"))
        while self.size < end:
            with spans.open("ab") as spans_file, logs.open("ab") as logs_file:
                while self.size < end and spans_file.tell() < FILE_SIZE:
                    self.moment += 10_000_000
                    new = [f"{random.getrandbits(128):032x}" for _ in range(TRACES)]
                    traces += new
                    lines = export(new, self.moment)
                    self.size += spans_file.write(lines[0]) + logs_file.write(lines[1])
                is_full = spans_file.tell() >= FILE_SIZE
            if is_full:
                self._files += 1
                spans.rename(spans.with_name(f"traces.jsonl.{1000 - self._files}"))
        return traces


class Times(NamedTuple):
    """Duration and CPU time in milliseconds."""

    wall: float
    cpu: float

    @classmethod
    def since(cls, begun: Times) -> Times:
        """The times since then."""
        now = cls.now()
        return cls(round(now.wall - begun.wall, 1), round(now.cpu - begun.cpu, 1))

    @classmethod
    def now(cls) -> Times:
        """The current times, of this thread and the commands that it ran."""
        commands = os.times()
        cpu = time.thread_time() + commands.children_user + commands.children_system
        return cls(time.perf_counter() * 1000, cpu * 1000)


def timed(search: Callable[[], object]) -> Times:
    """The times of a search."""
    begun = Times.now()
    search()
    return Times.since(begun)


def slowest(times: list[Times]) -> Times:
    """The highest duration, and the highest CPU time."""
    return Times(max(one.wall for one in times), max(one.cpu for one in times))


def scan(directory: Path, trace_id: str) -> None:
    """Parse every file."""
    spans = read_spans(directory, trace_id=trace_id)
    trace = build_trace(trace_id, spans, read_logs(directory, trace_id=trace_id))
    require_found(len(trace.spans))


def find(files: TraceFiles, trace_id: str) -> None:
    """Ask the index."""
    require_found(len(files.trace(trace_id).spans))


def command(directory: Path, trace_id: str) -> None:
    """The command, a new process each time."""
    program = Path(sys.executable).with_name("auditspan")
    subprocess.run(  # noqa: S603 (our own command)
        [program, "trace", trace_id, "--files", directory], check=True, capture_output=True
    )


def require_found(spans: int) -> None:
    """Check that the search found what was written."""
    if spans != SPANS:
        raise SystemExit(f"found {spans} spans instead of {SPANS}")


def measure(directory: Path, megabytes: int, tries: int) -> tuple[dict[str, Times], float]:
    """The times of each search, and the size of the index as a share of the files."""
    day = Day(directory)
    day.write(megabytes * 1_000_000 * 23 // 24)
    wanted = day.write(megabytes * 1_000_000 // 24)
    result = {"parsing every file": timed(partial(scan, directory, wanted[-1]))}
    files = TraceFiles(directory)
    result["first search, without an index"] = timed(partial(find, files, wanted[-1]))
    files.wait()
    (directory / INDEX_NAME).unlink()
    result["making the index"] = timed(files.index)
    searches = []
    for one in random.sample(wanted, tries):
        day.write(100_000)
        searches.append(timed(partial(find, files, one)))
    result["later search, slowest"] = slowest(searches)
    commands = [timed(partial(command, directory, one)) for one in wanted[-3:]]
    result["auditspan trace, slowest"] = slowest(commands)
    index = sum(one.stat().st_size for one in directory.glob(".auditspan-*"))
    return result, index / day.size * 100


def main() -> None:
    """Write the files, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="auditspan-traces-") as name:
        result, share = measure(Path(name), given.megabytes, given.tries)
    searches = [one for name, one in result.items() if "search" in name or "auditspan" in name]
    met = all(one.cpu <= GOAL for one in searches)
    if given.json:
        print(json.dumps({name: one._asdict() for name, one in result.items()}))
    else:
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        print(f"{given.megabytes} MB of collector files, {load}; milliseconds")
        print(f"{'':32}{'CPU time':>10}{'duration':>10}")
        for name, one in result.items():
            print(f"{name:32}{one.cpu:10.1f}{one.wall:10.1f}")
        print(f"The index has {share:.1f} percent of the size of the files.")
        print(f"goal: {GOAL:.0f} ms of CPU time for a search: {'met' if met else 'MISSED'}")
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
