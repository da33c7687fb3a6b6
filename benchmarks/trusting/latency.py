"""Time from the commit of a row to the collector's file."""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import threading
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

from sqlalchemy import Engine, MetaData

from auditspan.delivery import OtlpSink
from auditspan.delivery.worker import Worker
from auditspan.storage import AuditTables, audit_tables, insert_records
from auditspan_service.database.engine import make_engine
from support.collector import collector_binary, run_collector
from trusting.rates import Result
from trusting.trails import KEY, MAC, database, record

LOADS = {500: 1.0, 5_000: 2.0}
"""Events a second, and the goal for the 99th percentile, in seconds."""

PATIENCE = 120
_ALMOST = 0.95
"""Share of a load that the writer must reach, for the latency to be that of the load."""

_EVERY = 0.02
_POLL = 0.02
_UID = re.compile(rb'"log\.record\.uid","value":\{"stringValue":"([0-9a-f-]{36})"')


def latency(load: int, seconds: float) -> Result:
    """Commit so many events a second on PostgreSQL, with the worker in a process of its own."""
    with (
        database("postgresql") as (engine, tables),
        tempfile.TemporaryDirectory() as folder,
        run_collector(collector_binary(), Path(folder)) as collector,
    ):
        tail = Tail(collector.audit_files / "audit.jsonl")
        tail.start()
        url = engine.url.render_as_string(hide_password=False)
        spawn = get_context("spawn")
        stop = spawn.Event()
        worker = spawn.Process(target=work, args=(url, collector.audit_endpoint, stop))
        worker.start()
        first, _ = write_steadily(engine, tables, load, _EVERY)
        tail.wait_for(len(first), PATIENCE)  # the worker has started
        committed, took = write_steadily(engine, tables, load, seconds)
        tail.wait_for(len(first) + len(committed), PATIENCE)
        stop.set()
        worker.join()
        tail.stop()
    delays = sorted(tail.seen[event_id] - moment for event_id, moment in committed.items())
    p99 = statistics.quantiles(delays, n=100)[98]
    return Result(
        name="latency",
        database="postgresql",
        per_second=len(delays) / took,
        floor=f"wanted; median {statistics.median(delays):.2f} s, p99 {p99:.2f} s",
        floor_per_second=load,
        goal=f"p99 of {LOADS[load]:.0f} s, at this rate",
        reached=p99 <= LOADS[load] and len(delays) >= _ALMOST * load * took,
    )


def work(url: str, endpoint: str, stop: Event) -> None:
    """Seal and relay until the end, in a process of its own."""
    engine, sink = make_engine(url), OtlpSink(endpoint)
    worker = Worker(engine, audit_tables(MetaData()), sink, signing_key=KEY, mac_key=MAC)
    worker.start()
    stop.wait()
    worker.stop()


def write_steadily(
    engine: Engine, tables: AuditTables, load: int, seconds: float
) -> tuple[dict[str, float], float]:
    """Commit rows every 20 ms; return when each was committed, and how long all of them took."""
    committed = {}
    share = round(load * _EVERY)
    began = time.monotonic()
    for number in range(int(seconds / _EVERY)):
        records = [record(share * number + n) for n in range(share)]
        with engine.begin() as connection:
            insert_records(connection, tables, records, MAC)
        committed.update(dict.fromkeys((one.event_id for one in records), time.monotonic()))
        time.sleep(max(0.0, began + (number + 1) * _EVERY - time.monotonic()))
    return committed, time.monotonic() - began


class Tail(threading.Thread):
    """Watches a file of the collector; `seen` is when each event was first in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.seen: dict[str, float] = {}
        self._path = path
        self._done = threading.Event()

    def wait_for(self, count: int, seconds: float) -> None:
        """Wait until it has seen so many events."""
        deadline = time.monotonic() + seconds
        while len(self.seen) < count and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        """Look a last time, and end."""
        self._done.set()
        self.join()

    def run(self) -> None:
        """Read what is new, every 20 ms; the collector begins another file now and then."""
        while not self._path.exists():
            if self._done.wait(_POLL):
                return
        file, rest, is_last = self._path.open("rb"), b"", False
        while not is_last:
            is_last = self._done.wait(_POLL)
            is_old = self._path.exists() and not os.path.samestat(
                self._path.stat(), os.fstat(file.fileno())
            )
            *lines, rest = (rest + file.read()).split(b"\n")
            for line in lines:
                for found in _UID.finditer(line):
                    self.seen.setdefault(found[1].decode(), time.monotonic())
            if is_old:
                file.close()
                file, rest = self._path.open("rb"), b""
        file.close()
