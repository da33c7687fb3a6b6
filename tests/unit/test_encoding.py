"""The encoding of log records, compared with OpenTelemetry's own encoders."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from auditspan.delivery import encode
from auditspan.delivery.encoding import encode_json
from auditspan.delivery.log_record import ExportRecord, checkpoint_record, log_record
from auditspan.delivery.wire import Attribute, fixed64
from auditspan.format import SealedRow, SignedCheckpoint
from auditspan.format.record import AuditRecord
from auditspan.format.record_parts import Actor, Request, Service, Target
from auditspan.telemetry.scope import SCHEMA_URL, SCOPE_VERSION
from auditspan.tlog import SigningKey
from auditspan.tlog.checkpoint import sign_checkpoint
from auditspan.tlog.merkle import Tree

UNTRACED = set_span_in_context(INVALID_SPAN, Context())
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)
#: Lengths of one, two and three bytes.
LONG = st.sampled_from([60, 64, 127, 128, 200, 20_000]).map("é".__mul__)
OPTIONAL = st.none() | TEXTS | LONG
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
KEY = SigningKey(name="auditspan/test", seed=bytes(32))
#: Members that OTLP JSON may leave out or write with their default.
DEFAULTS: dict[str, Any] = {"droppedAttributesCount": 0, "flags": 0, "traceId": "", "spanId": ""}


@st.composite
def rows(draw: st.DrawFn) -> SealedRow:
    """Draw a row with any of the optional members, of one of a few services."""
    traced = draw(st.booleans())
    moment = draw(TIMES)
    record = AuditRecord(
        event_id=str(draw(st.uuids(version=4))),
        occurred_at=moment,
        action=draw(st.sampled_from(["user.update", "login.failed"])),
        outcome=draw(st.sampled_from(["success", "failure", "unknown"])),
        actor=draw(st.sampled_from([Actor.unknown(), Actor.user(7, label="kim")])),
        tx_id="tx",
        service=Service(
            name=draw(st.sampled_from("ab")),
            version=draw(st.none() | st.just("1")),
            attributes=draw(st.sampled_from([{}, {"host.name": "h" * 200}])),
        ),
        target=draw(st.none() | st.builds(Target, type=st.just("user"), id=TEXTS)),
        request=draw(st.none() | st.builds(Request, user_agent=OPTIONAL, route=OPTIONAL)),
        trace_id=draw(st.integers(1, 2**128 - 1)).to_bytes(16, "big").hex() if traced else None,
        span_id=draw(st.integers(1, 2**64 - 1)).to_bytes(8, "big").hex() if traced else None,
        metadata={"text": draw(TEXTS | LONG)},
    )
    return SealedRow(
        seq=draw(st.integers(0, 2**60)),
        row_id=draw(st.integers(1, 2**60)),
        event_id=record.event_id,
        recorded_at=draw(TIMES),
        body=record.body(),
        mac=draw(st.none() | st.just("ab" * 32)),
        trail=draw(st.none() | st.just("auditspan/test")),
    )


def official(row: SealedRow, ours: ExportRecord) -> ReadableLogRecord:
    """Build the record as the SDK has it, from the row and the attributes of ours."""
    body = json.loads(row.body)
    failed = body["outcome"] == "failure"
    record = LogRecord(
        timestamp=nanos(datetime.fromisoformat(body["occurred_at"])),
        observed_timestamp=nanos(row.recorded_at),
        context=UNTRACED,
        severity_number=SeverityNumber.WARN if failed else SeverityNumber.INFO,
        severity_text="WARN" if failed else "INFO",
        body=row.body,
        attributes=ours.attributes,
        event_name=f"audit.{body['action']}",
    )
    if body["trace_id"]:
        record.trace_id, record.span_id = int(body["trace_id"], 16), int(body["span_id"], 16)
    known = ((f"service.{name}", value) for name, value in body["service"].items() if value)
    service = {name: value for name, value in known if name != "service.attributes"}
    service |= body["service"].get("attributes", {})
    scope = InstrumentationScope("auditspan", SCOPE_VERSION, SCHEMA_URL)
    return ReadableLogRecord(record, Resource(service), scope)


def nanos(moment: datetime | None) -> int:
    """Return nanoseconds since 1970."""
    assert moment is not None
    whole = int(moment.replace(microsecond=0).timestamp())
    return (whole * 1_000_000 + moment.microsecond) * 1000


@settings(max_examples=25, deadline=None)
@given(st.lists(rows(), max_size=5))
def test_requests_equal_those_of_the_official_encoder(batch: list[SealedRow]) -> None:
    """Every byte of a request is what OpenTelemetry's encoder makes of the same records."""
    ours = [log_record(row) for row in batch]
    theirs = [official(row, one) for row, one in zip(batch, ours, strict=True)]
    assert encode_logs(theirs).SerializeToString() == encode(ours)


@settings(max_examples=25, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=5))
def test_lines_equal_those_of_the_official_file_exporter(batch: list[SealedRow]) -> None:
    """A line of OTLP JSON has the members that OpenTelemetry's exporter writes."""
    ours = [log_record(row) for row in batch]
    stream = StringIO()
    FileLogExporter(stream=stream).export(
        [official(row, one) for row, one in zip(batch, ours, strict=True)]
    )
    assert whole(json.loads(stream.getvalue())) == whole(json.loads(encode_json(ours)))


def whole(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records with every default and their resource and scope."""
    return [
        {
            **DEFAULTS,
            **record,
            "resource": group["resource"],
            "scope": {name: value for name, value in scope["scope"].items() if value},
        }
        for group in document["resourceLogs"]
        for scope in group["scopeLogs"]
        for record in scope["logRecords"]
    ]


def test_checkpoint_carries_its_note_and_name() -> None:
    """The record of a checkpoint has the exact note as its body."""
    note = sign_checkpoint(KEY, Tree(), 1)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    point = SignedCheckpoint(size=0, root=Tree().root, note=note, created_at=moment)
    record = checkpoint_record(point)
    assert (note, "audit.checkpoint") == (
        record.message.body.string_value,
        record.message.event_name,
    )
    assert {
        "audit.tree.size": 0,
        "audit.tree.root": Tree().root.hex(),
        "audit.key.id": record.attributes["audit.key.id"],
        "audit.trail.name": "auditspan/test",
    } == record.attributes


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 127, 128, 2**63 - 1])
def test_numbers_equal_those_of_protobuf(number: int) -> None:
    """An attribute of any integer of 64 bits is the one that protobuf encodes."""
    pair = KeyValue(key="n", value=AnyValue(int_value=number)).SerializeToString()
    assert b"\x0a" + bytes([len(pair)]) + pair == Attribute("n", b"\x0a").number(number)


def test_record_with_a_time_before_1970_is_refused() -> None:
    """A time that protobuf has no number for is not encoded as another one."""
    with pytest.raises(OverflowError):
        fixed64(-1)


def test_empty_request_is_empty() -> None:
    """A request without records has no bytes."""
    assert (b"", "{}\n") == (encode([]), encode_json([]))
