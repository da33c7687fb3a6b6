"""Sealing, verifying and relaying per second, and commit-to-file latency, beside their floors.

    .venv/bin/python benchmarks/trust.py [--rows 20000] [--seconds 10] [--json]

On SQLite and on a real PostgreSQL (that of the tests), with the real collector for the latency. A
floor is what the same machine does when it does only the part that nobody can leave out, measured
in the same minute; the ratio is what to compare between machines, the goals are in rows a second.
On a busy machine look at the CPU time, too: that of this process, without the database's server.
"""

# ruff: noqa: T201 (a script, which prints)

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as PbResource
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk._logs.export import LogRecordExporter as Exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from sqlalchemy import Engine, MetaData, insert, select

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from auditspan import Actor, MacKey, Request, Service, Target
from auditspan.delivery import OtlpSink, Relay, encode, outgoing
from auditspan.delivery.batch_reader import MAX_RECORDS
from auditspan.delivery.log_record import ExportRecord, log_record
from auditspan.format import AuditRecord, SealedRow, uuid7
from auditspan.seal import Sealer
from auditspan.storage import AuditTables, audit_tables, insert_records, snapshot
from auditspan.telemetry import semconv
from auditspan.tlog import SigningKey
from auditspan.verify import verify_trail
from auditspan.worker import Worker
from auditspan_service.database.engine import make_engine
from support.collector import collector_binary, run_collector
from support.postgres import empty_database

MAC = MacKey.from_secret(bytes(range(32)))
KEY = SigningKey(name="auditspan/benchmark", seed=bytes(range(32)))
RATE = 500
"""Events a second, for the latency."""
SEAL_GOAL, VERIFY_GOAL, MAX_LATENCY = 20_000, 50_000, 1.0
RELAY_GOALS = (1.0, 2.5)
"""The rate of the relay, as a multiple of each of its floors."""
TRIES = 5
SHARES = 4
_UID = re.compile(rb'"log\.record\.uid","value":\{"stringValue":"([0-9a-f-]{36})"')


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure: so many a second, and the floor beside it."""

    name: str
    database: str
    per_second: float
    floor: str
    floor_per_second: float
    goal: str
    reached: bool
    cpu_micros: float | None = None

    def line(self) -> str:
        """For people."""
        ratio = self.per_second / self.floor_per_second
        cpu = f"; {self.cpu_micros:.1f} µs of CPU time each" if self.cpu_micros else ""
        return (
            f"{self.name:10} {self.database:10} {self.per_second:10,.0f} /s   {ratio:6.0%} of "
            f"{self.floor_per_second:10,.0f} /s ({self.floor}); goal {self.goal}: "
            f"{'reached' if self.reached else 'MISSED'}{cpu}"
        )


def record(number: int) -> AuditRecord:
    """An update of one column by a request, about 750 bytes."""
    moment = datetime.now(UTC)
    return AuditRecord(
        event_id=uuid7(int(moment.timestamp() * 1000), os.urandom(10)),
        occurred_at=moment,
        action="user.update",
        actor=Actor.user(7, label="kim"),
        tx_id=f"01a2-{number}",
        service=Service(name="shop", version="1.2.3", instance="627cc493-f310-47de-96bd-714"),
        target=Target(type="user", id=str(number), version=2),
        changes={"full_name": {"old": "Kim", "new": f"Kim Park {number}"}},
        request=Request(
            id=f"r-{number}",
            client_address="198.51.100.7",
            user_agent="curl/8.5.0",
            method="PATCH",
            route="/v1/users/<id>",
        ),
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        tenant="acme",
    )


@contextmanager
def database(kind: str) -> Iterator[tuple[Engine, AuditTables]]:
    """An engine on a database with the audit tables."""
    with tempfile.TemporaryDirectory() as folder, empty_database() as postgresql:
        url = f"sqlite:///{folder}/trail.db" if kind == "sqlite" else postgresql
        engine = make_engine(url)
        metadata = MetaData()
        tables = audit_tables(metadata)
        metadata.create_all(engine)
        try:
            yield engine, tables
        finally:
            engine.dispose()


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many a second, and how many microseconds of this process each of them takes."""

    per_second: float
    cpu_micros: float


def rate(count: int, work: Callable[[], object], tries: int = TRIES) -> Rate:
    """The best of some tries: others use this machine too."""
    return rates(count, work, tries=tries)[0]


def rates(count: int, *works: Callable[[], object], tries: int = TRIES) -> list[Rate]:
    """The best of some tries of each, one after the other in turn: a bad moment meets them all."""
    tried: list[list[tuple[float, float]]] = [[] for _ in works]
    for _ in range(tries):
        for work, times in zip(works, tried, strict=True):
            began, began_cpu = time.perf_counter(), time.process_time()
            work()
            times.append((time.perf_counter() - began, time.process_time() - began_cpu))
    best = [(min(wall for wall, _ in times), min(cpu for _, cpu in times)) for times in tried]
    return [Rate(per_second=count / wall, cpu_micros=cpu / count * 1e6) for wall, cpu in best]


def sealing(kind: str, engine: Engine, tables: AuditTables, rows: int) -> Result:
    """Write rows and seal them, a share at a time; the floor is hashing and inserting the leaves.

    The best share counts, as the best try does elsewhere: a row is sealed once.
    """
    sealer = Sealer(engine, tables, signing_key=KEY, mac_key=MAC)
    share = rows // SHARES

    def seal() -> None:
        while sealer.seal():
            pass

    figures = []
    for start in range(0, rows, share):
        write(engine, tables, range(start, start + share))
        figures.append(rate(share, seal, tries=1))
    figure = max(figures, key=lambda one: one.per_second)
    bodies = bodies_of(engine, tables)

    def floor() -> None:
        leaves = [
            {
                "seq": rows + n,
                "row_id": -n,
                "event_id": f"{n:032x}",
                "leaf_hash": hashlib.sha256(b).digest(),
            }
            for n, b in enumerate(bodies)
        ]
        with engine.connect() as connection:
            for start in range(0, rows, 5000):
                connection.execute(insert(tables.leaf), leaves[start : start + 5000])
            connection.rollback()

    least = rate(rows, floor)
    return Result(
        name="seal",
        database=kind,
        per_second=figure.per_second,
        floor="SHA-256 of the bodies and INSERT of the leaves",
        floor_per_second=least.per_second,
        goal="20,000 /s",
        reached=figure.per_second >= SEAL_GOAL,
        cpu_micros=figure.cpu_micros,
    )


def write(engine: Engine, tables: AuditTables, numbers: range) -> None:
    """Commit rows, a thousand at a time."""
    for start in range(numbers.start, numbers.stop, 1000):
        some = range(start, min(start + 1000, numbers.stop))
        with engine.begin() as connection:
            insert_records(connection, tables, [record(number) for number in some], MAC)


def bodies_of(engine: Engine, tables: AuditTables) -> list[bytes]:
    """All bodies."""
    with engine.connect() as connection:
        return [body.encode() for body in connection.scalars(select(tables.event.c.body))]


def verifying(kind: str, engine: Engine, tables: AuditTables, rows: int) -> Result:
    """Verify everything; the floor is reading the bodies and hashing them once."""

    def verify() -> None:
        with snapshot(engine) as connection:
            assert verify_trail(connection, tables, MAC, [KEY.public]).ok  # noqa: S101

    def floor() -> None:
        for body in bodies_of(engine, tables):
            hashlib.sha256(body).digest()

    figure, least = rates(rows, verify, floor)
    return Result(
        name="verify",
        database=kind,
        per_second=figure.per_second,
        floor="SELECT and SHA-256 of the bodies",
        floor_per_second=least.per_second,
        goal="50,000 /s",
        reached=figure.per_second >= VERIFY_GOAL,
        cpu_micros=figure.cpu_micros,
    )


class EncodingSink:
    """Encodes what it is sent, and takes it. Each has cursors of its own, from the first row on."""

    def __init__(self) -> None:
        self.name = f"benchmark-{uuid7(0, os.urandom(10))}"

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Encode a batch as the sender does."""
        encode(records)

    def close(self) -> None:
        """Nothing."""


class NullExporter(Exporter):
    """What the SDK's batch processor exports to: the same encoder."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Encode a batch."""
        encode_logs(batch).SerializeToString()
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 (its interface)
        """Nothing waits."""
        return True


def official(record: ExportRecord) -> ReadableLogRecord:
    """The same record as the SDK's logger makes it."""
    log, resource = record.message, PbResource.FromString(record.resource)
    made = LogRecord(
        timestamp=log.time_unix_nano,
        observed_timestamp=log.observed_time_unix_nano,
        severity_number=SeverityNumber(log.severity_number),
        severity_text=log.severity_text,
        body=log.body.string_value,
        attributes=dict(record.attributes),
        event_name=log.event_name,
    )
    made.trace_id = int.from_bytes(log.trace_id, "big")
    made.span_id = int.from_bytes(log.span_id, "big")
    service = {one.key: one.value.string_value for one in resource.attributes}
    return ReadableLogRecord(made, Resource(service), InstrumentationScope(semconv.SCOPE))


def relaying(kind: str, engine: Engine, tables: AuditTables, rows: int) -> list[Result]:
    """Relay everything; the floors are the encoder alone, and the SDK's own batch processor."""

    def relay() -> None:
        with engine.connect() as connection:
            sent = Relay(engine, tables, EncodingSink()).deliver(connection)
        assert sent == rows  # noqa: S101 (else the figure is none)

    with engine.connect() as connection:
        items = outgoing(connection, tables, -1, limit=rows, max_bytes=10**9)
    records = [official(log_record(item)) for item in items if isinstance(item, SealedRow)]
    gc.collect()
    gc.freeze()  # only the floors have these; the relay's own garbage is looked for without them

    def encoder() -> None:
        for start in range(0, len(records), MAX_RECORDS):
            encode_logs(records[start : start + MAX_RECORDS]).SerializeToString()

    def processor() -> None:
        provider = LoggerProvider()
        batch = BatchLogRecordProcessor(NullExporter(), max_queue_size=rows + 1)
        provider.add_log_record_processor(batch)
        logger = provider.get_logger("benchmark")
        for one in records:
            logger.emit(one.log_record)
        provider.shutdown()

    figure, *least = rates(rows, relay, encoder, processor)
    gc.unfreeze()
    floors = ("the official encoder alone", "the SDK's logger and batch processor")
    return [
        Result(
            name="relay",
            database=kind,
            per_second=figure.per_second,
            floor=name,
            floor_per_second=floor.per_second,
            goal=f"{goal:.0%}",
            reached=figure.per_second >= goal * floor.per_second,
            cpu_micros=figure.cpu_micros,
        )
        for name, floor, goal in zip(floors, least, RELAY_GOALS, strict=True)
    ]


def latency(seconds: float) -> Result:
    """Commit to the collector's file, on PostgreSQL at 500 events a second."""
    with (
        database("postgresql") as (engine, tables),
        tempfile.TemporaryDirectory() as folder,
        run_collector(collector_binary(), Path(folder)) as collector,
    ):
        worker = Worker(
            engine, tables, OtlpSink(collector.audit_endpoint), signing_key=KEY, mac_key=MAC
        )
        tail = Tail(collector.audit_files / "audit.jsonl")
        worker.start()
        tail.start()
        committed = write_steadily(engine, tables, seconds)
        worker.drain(30)
        tail.stop()
        worker.stop()
    delays = sorted(tail.seen[event_id] - moment for event_id, moment in committed.items())
    p99 = statistics.quantiles(delays, n=100)[98]
    return Result(
        name="latency",
        database="postgresql",
        per_second=len(delays) / seconds,
        floor=f"wanted; median {statistics.median(delays):.2f} s, p99 {p99:.2f} s",
        floor_per_second=RATE,
        goal="p99 of 1 s",
        reached=p99 <= MAX_LATENCY,
    )


def write_steadily(engine: Engine, tables: AuditTables, seconds: float) -> dict[str, float]:
    """Ten rows every 20 ms; when each was committed."""
    committed = {}
    began = time.monotonic()
    for number in range(int(seconds * RATE / 10)):
        records = [record(10 * number + n) for n in range(10)]
        with engine.begin() as connection:
            insert_records(connection, tables, records, MAC)
        committed.update(dict.fromkeys((one.event_id for one in records), time.monotonic()))
        time.sleep(max(0.0, began + (number + 1) * 10 / RATE - time.monotonic()))
    return committed


class Tail(threading.Thread):
    """Watches a file of the collector; `seen` is when each event was first in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.seen: dict[str, float] = {}
        self._path = path
        self._done = threading.Event()

    def stop(self) -> None:
        """Look a last time, and end."""
        self._done.set()
        self.join()

    def run(self) -> None:
        """Read what is new, every 20 ms."""
        offset = 0
        rest = b""
        is_last = False
        while not is_last:
            is_last = self._done.wait(0.02)
            if not self._path.exists():
                continue
            with self._path.open("rb") as file:
                file.seek(offset)
                new = file.read()
            offset += len(new)
            *lines, rest = (rest + new).split(b"\n")
            for line in lines:
                for found in _UID.finditer(line):
                    self.seen.setdefault(found[1].decode(), time.monotonic())


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description="Measure sealing, verifying and relaying.")
    parser.add_argument("--rows", type=int, default=20_000, help=f"multiple of {SHARES}")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the latency's load")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    given = parser.parse_args()
    for result in measure(given.rows, given.seconds):
        print(json.dumps(asdict(result)) if given.json else result.line(), flush=True)


def measure(rows: int, seconds: float) -> Iterator[Result]:
    """Every figure."""
    for kind in ("sqlite", "postgresql"):
        with database(kind) as (engine, tables):
            yield sealing(kind, engine, tables, rows)
            yield verifying(kind, engine, tables, rows)
            yield from relaying(kind, engine, tables, rows)
    yield latency(seconds)


if __name__ == "__main__":
    main()
