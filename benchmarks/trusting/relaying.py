"""Rate at which rows are relayed, beside the official encoder and the SDK's batch processor."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as PbResource
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk._logs.export import LogRecordExporter as Exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from sqlalchemy import Engine

from auditspan.delivery import Relay, encode, outgoing
from auditspan.delivery.batch_reader import MAX_RECORDS
from auditspan.delivery.log_record import ExportRecord, log_record
from auditspan.format import SealedRow, uuid7
from auditspan.storage import AuditTables
from auditspan.telemetry import semconv
from trusting.rates import Result, rates

GOALS = (1.0, 2.5)
"""The rate of the relay, as a multiple of each of its floors."""


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
    """Exporter of the SDK's batch processor: the same encoder."""

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


def official_records(engine: Engine, tables: AuditTables, rows: int) -> list[ReadableLogRecord]:
    """The records of all rows, as the SDK's logger makes them."""
    with engine.connect() as connection:
        items = outgoing(connection, tables, -1, limit=rows, max_bytes=10**10)
    return [official(log_record(item)) for item in items if isinstance(item, SealedRow)]


def relaying(kind: str, engine: Engine, tables: AuditTables, rows: int) -> list[Result]:
    """Relay everything; the floors are the encoder alone, and the SDK's own batch processor."""

    def relay() -> None:
        with engine.connect() as connection:
            sent = Relay(engine, tables, EncodingSink()).deliver(connection)
        assert sent == rows  # noqa: S101 (else the figure is none)

    records = official_records(engine, tables, rows)
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
            goal=f"{goal:.0%} by CPU time",
            reached=floor.cpu_micros >= goal * figure.cpu_micros,
            cpu_micros=figure.cpu_micros,
            floor_cpu_micros=floor.cpu_micros,
        )
        for name, floor, goal in zip(floors, least, GOALS, strict=True)
    ]
