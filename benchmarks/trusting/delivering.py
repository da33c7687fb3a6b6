"""Rate at which one relay delivers to the real collector, and the CPU time of both."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from sqlalchemy import Engine

from auditspan.delivery import OtlpSink, Relay
from auditspan.format import uuid7
from auditspan.storage import AuditTables
from support.collector import collector_binary, run_collector
from trusting.rates import Result, rates
from trusting.relaying import official_records

CPU_GOAL, RATE_GOAL = 25.0, 2.5
"""Microseconds of CPU time for a record, and the rate as a multiple of the SDK's."""

TRIES = 3
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """Work, with the CPU time that another process has taken for it."""

    work: Callable[[], None]
    pid: int
    best: float = float("inf")

    def __call__(self) -> None:
        """Do it."""
        before = _cpu_seconds(self.pid)
        self.work()
        self.best = min(self.best, _cpu_seconds(self.pid) - before)


def delivering(engine: Engine, tables: AuditTables, rows: int) -> list[Result]:
    """Deliver everything to a collector that writes it to its file, and let the SDK do the same."""
    records = official_records(engine, tables, rows)
    gc.collect()
    gc.freeze()  # only the SDK has these
    with (
        tempfile.TemporaryDirectory() as folder,
        run_collector(collector_binary(), Path(folder)) as collector,
    ):
        relay = Measured(
            lambda: _relay(engine, tables, collector.audit_endpoint, rows), collector.pid
        )
        sdk = Measured(lambda: _export(records, collector.audit_endpoint), collector.pid)
        ours, theirs = rates(rows, relay, sdk, tries=TRIES)
    gc.unfreeze()
    collectors = [one.best / rows * 1e6 for one in (relay, sdk)]
    by_rate = Result(
        name="deliver",
        database="postgresql",
        per_second=ours.per_second,
        floor="the SDK's batch processor and exporter, to the same collector",
        floor_per_second=theirs.per_second,
        goal=f"{RATE_GOAL:.0%} by CPU time",
        reached=theirs.cpu_micros >= RATE_GOAL * ours.cpu_micros,
        cpu_micros=ours.cpu_micros,
        floor_cpu_micros=theirs.cpu_micros,
        note=f"; the collector's own: {collectors[0]:.1f} µs (for the SDK: {collectors[1]:.1f} µs)",
    )
    is_cheap = ours.cpu_micros <= CPU_GOAL
    return [by_rate, replace(by_rate, goal=f"{CPU_GOAL:.0f} µs", reached=is_cheap)]


def _relay(engine: Engine, tables: AuditTables, endpoint: str, rows: int) -> None:
    sink = OtlpSink(endpoint, name=f"benchmark-{uuid7(0, os.urandom(10))}")
    with engine.connect() as connection:
        assert Relay(engine, tables, sink).deliver(connection) == rows  # noqa: S101
    sink.close()


def _export(records: Sequence[ReadableLogRecord], endpoint: str) -> None:
    provider = LoggerProvider()
    exporter = OTLPLogExporter(endpoint=endpoint)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(exporter, max_queue_size=len(records) + 1)
    )
    logger = provider.get_logger("benchmark")
    for one in records:
        logger.emit(one.log_record)
    provider.shutdown()


def _cpu_seconds(pid: int) -> float:
    """The CPU time of a process so far."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS
