"""A trace is shown as a tree, with everything that belongs to it in its place."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, StatusCode

from auditspan.telemetry.otlp.files import LogEntry, SpanEvent, SpanRecord, read_logs, read_spans
from auditspan.telemetry.otlp.trace_tree import build_trace, render_trace, trace_as_dict

if TYPE_CHECKING:
    from pathlib import Path

TRACE = "0000000000000000000000000000000a"
START = 1_767_225_600_000_000_000
MILLISECOND = 1_000_000
POINTER = {
    "audit.record.id": "019b76da-a800-7000-8000-000000000001",
    "audit.action": "user.create",
    "audit.outcome": "success",
    "audit.target.type": "user",
    "audit.target.id": "42",
    "audit.actor.type": "user",
    "audit.actor.id": "7",
}
RECORD = POINTER | {
    "log.record.uid": POINTER["audit.record.id"],
    "audit.verb": "CREATE",
    "audit.sequence.number": 17,
}


class CountingIds(IdGenerator):
    """Trace and span ids that count up, so that what is exported can be compared whole."""

    def __init__(self) -> None:
        self._spans = 0

    def generate_span_id(self) -> int:
        """The next span id."""
        self._spans += 1
        return self._spans

    def generate_trace_id(self) -> int:
        """The one trace id."""
        return 10


class Telemetry:
    """The SDK's providers, writing with its file exporters below a directory."""

    def __init__(self, directory: Path) -> None:
        self._tracers = TracerProvider(
            resource=Resource({}), id_generator=CountingIds(), shutdown_on_exit=False
        )
        self._tracers.add_span_processor(
            SimpleSpanProcessor(FileSpanExporter(directory / "traces.jsonl"))
        )
        self._loggers = LoggerProvider(Resource({}), shutdown_on_exit=False)
        self._loggers.add_log_record_processor(
            SimpleLogRecordProcessor(FileLogExporter(directory / "audit.jsonl"))
        )
        self._tracer = self._tracers.get_tracer("test")
        self._logger = self._loggers.get_logger("test")

    def span(
        self, name: str, at: float, kind: SpanKind, parent: trace.Span | None = None, **options: Any
    ) -> trace.Span:
        """A span that starts `at` milliseconds after the start of the trace."""
        context = trace.set_span_in_context(parent) if parent else None
        return self._tracer.start_span(name, context, kind, start_time=nanoseconds(at), **options)

    def log(self, at: float, span: trace.Span, **fields: Any) -> None:
        """A log record on a span."""
        record = LogRecord(
            timestamp=nanoseconds(at), context=trace.set_span_in_context(span), **fields
        )
        self._logger.emit(record)

    def close(self) -> None:
        """Write everything."""
        self._tracers.shutdown()
        self._loggers.shutdown()


def nanoseconds(milliseconds: float) -> int:
    """The time so many milliseconds after the start of the trace."""
    return START + int(milliseconds * MILLISECOND)


def span(number: int, parent: int | None = None, **changes: Any) -> SpanRecord:
    """A span of one millisecond, `number` milliseconds after the start of the trace."""
    fields: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_span_id": None if parent is None else f"{parent:016x}",
        "name": f"span {number}",
        "kind": "INTERNAL",
        "start": nanoseconds(number),
        "end": nanoseconds(number + 1),
        "status": "UNSET",
        "status_message": "",
        "attributes": {},
        "events": (),
        "links": (),
        "resource": {},
        "scope": "",
    }
    return SpanRecord(**fields | changes)


def log(on: int | None, at: float = 0, **changes: Any) -> LogEntry:
    """An application's log record on a span."""
    fields: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": None if on is None else f"{on:016x}",
        "event_name": None,
        "body": "hello",
        "severity_text": "INFO",
        "severity_number": 9,
        "time": nanoseconds(at),
        "observed": 0,
        "attributes": {},
        "resource": {},
        "scope": "",
    }
    return LogEntry(**fields | changes)


def rendered(spans: list[SpanRecord], logs: list[LogEntry]) -> list[str]:
    """The lines of the tree below the summary."""
    return render_trace(build_trace(TRACE, spans, logs)).split("\n")[1:]


def write_story(directory: Path) -> None:
    """A request that creates a user, then fails to send a mail, as the SDK writes it."""
    telemetry = Telemetry(directory)
    elsewhere = trace.SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=True)
    server = telemetry.span("POST /v1/users", 0, SpanKind.SERVER, links=[trace.Link(elsewhere)])
    server.set_attributes(
        {
            "http.request.method": "POST",
            "http.route": "/v1/users",
            "http.response.status_code": 201,
        }
    )
    insert = telemetry.span("INSERT users", 1.2, SpanKind.CLIENT, server)
    insert.set_attribute("db.query.text", "INSERT INTO users\n  (username)  VALUES (?)")
    insert.end(nanoseconds(2))
    commit = telemetry.span("COMMIT", 3, SpanKind.CLIENT, server)
    commit.set_attribute("db.operation.name", "COMMIT")
    commit.end(nanoseconds(4.5))
    server.add_event("audit.user.create", POINTER, nanoseconds(4.6))
    audit = {"event_name": "audit.user.create", "body": '{"changes":{"iban":{"new":"DE00"}}}'}
    telemetry.log(2.1, server, severity_text="INFO", attributes=RECORD, **audit)
    telemetry.log(2.1, server, severity_text="INFO", attributes=RECORD, **audit)
    mail = telemetry.span("send mail", 5, SpanKind.PRODUCER, server)
    telemetry.log(
        5.5,
        mail,
        severity_text="ERROR",
        severity_number=SeverityNumber.ERROR,
        body="the mail was not sent",
        attributes={"exception.type": "OSError", "exception.message": "no route"},
    )
    mail.add_event("exception", {"exception.type": "OSError"}, nanoseconds(5.6))
    mail.set_status(StatusCode.ERROR, "no route")
    mail.end(nanoseconds(6))
    server.end(nanoseconds(12.3))
    telemetry.close()


STORY = """\
trace 0000000000000000000000000000000a  12.3 ms  spans 4  span events 2  log records 2
POST /v1/users  SERVER  12.3 ms  201  linked to trace 00000000000000000000000000000abc
├─ +1.2 ms  INSERT users  CLIENT  0.8 ms  INSERT INTO users (username) VALUES (?)
├─ +2.1 ms  log record ×2  audit.user.create  success  user/42  by user/7  seq 17
├─ +3.0 ms  COMMIT  CLIENT  1.5 ms
├─ +4.6 ms  span event  audit.user.create  success  user/42  by user/7  record 019b76da-a800-7000-8000-000000000001
└─ +5.0 ms  send mail  PRODUCER  1.0 ms  ERROR no route
   ├─ +5.5 ms  log record  ERROR  the mail was not sent  OSError: no route
   └─ +5.6 ms  span event  exception  OSError"""  # noqa: E501, RUF001 (lines as wide as they may be; the sign for "times")


def test_a_trace_reads_as_a_tree(tmp_path: Path) -> None:
    """Spans, span events and log records of a trace stand in their place, with their times."""
    write_story(tmp_path)
    found = build_trace(TRACE.upper(), read_spans(tmp_path), read_logs(tmp_path))
    assert render_trace(found) == STORY


def test_a_trace_comes_as_one_object(tmp_path: Path) -> None:
    """The same tree for programs, as JSON; no audit record brings its body along."""
    write_story(tmp_path)
    found = build_trace(TRACE, read_spans(tmp_path), read_logs(tmp_path))
    written = json.loads(json.dumps(trace_as_dict(found), allow_nan=False))
    assert {"trace_id", "start", "duration_ms", "spans", "logs"} == written.keys()
    expected = [
        ("POST /v1/users", 0.0, 12.3, ["audit.user.create"]),
        ("INSERT users", 1.2, 0.8, []),
        ("COMMIT", 3.0, 1.5, []),
        ("send mail", 5.0, 1.0, [None]),
    ]
    assert expected == [
        (s["name"], s["offset_ms"], s["duration_ms"], [r["event_name"] for r in s["logs"]])
        for s in written["spans"]
    ]
    record = written["spans"][0]["logs"][0]
    assert ("body" in record, record["times"], record["offset_ms"]) == (False, 2, 2.1)
    assert "DE00" not in json.dumps(written)
    assert written["spans"][3]["logs"][0]["body"] == "the mail was not sent"


def test_every_value_can_stand_in_json() -> None:
    """Bytes, integers over 53 bits and numbers that are not finite are written as strings."""
    attributes = {"b": b"\x00\xff", "i": 2**62, "n": math.nan, "f": -math.inf, "ok": [1, True]}
    found = trace_as_dict(build_trace(TRACE, [span(1, attributes=attributes)], []))
    written = json.loads(json.dumps(found, allow_nan=False))["spans"][0]
    expected = {"b": "AP8=", "i": str(2**62), "n": "nan", "f": "-inf", "ok": [1, True]}
    assert expected == written["attributes"]
    assert written["start"] == str(nanoseconds(1))


def test_a_span_without_its_parent_is_shown_and_marked() -> None:
    """Spans whose parent is not in the files stand under a heading, with all that is on them."""
    expected = [
        "span 1  INTERNAL  1.0 ms",
        "(parent not in these files)  0000000000000009",
        "├─ +1.0 ms  span 2  INTERNAL  1.0 ms",
        "│  └─ +2.0 ms  span 3  INTERNAL  1.0 ms",
        "└─ +3.0 ms  span 4  INTERNAL  1.0 ms",
    ]
    spans = [span(4, 9), span(3, 2), span(1), span(2, 9)]
    assert expected == rendered(spans, [])
    found = trace_as_dict(build_trace(TRACE, spans, []))["spans"]
    assert isinstance(found, list)
    assert [s["parent_missing"] for s in found] == [False, True, False, True]


def test_log_records_of_no_known_span_come_last() -> None:
    """A log record without a span, or of a span that is not there, stands under `(no span)`."""
    expected = [
        "span 1  INTERNAL  1.0 ms",
        "(no span)",
        "├─ +1.0 ms  log record  INFO  late",
        "└─ +2.0 ms  log record  INFO  later",
    ]
    logs = [log(None, 3, body="later"), log(9, 2, body="late")]
    assert expected == rendered([span(1)], logs)


def test_log_records_alone_are_a_trace() -> None:
    """An unsampled request has log records and no span; offsets are from the first of them."""
    expected = [
        "(no span)",
        "├─ +0.0 ms  log record  INFO  hello",
        '└─ +2.0 ms  log record  13  {"count": 3}',
    ]
    logs = [log(1, 3, body={"count": 3}, severity_text="", severity_number=13), log(1, 1)]
    assert expected == rendered([], logs)


def test_log_record_without_a_time_is_sorted_by_its_observed_time() -> None:
    """Only the observed timestamp is certain to be there."""
    expected = ["span 0  INTERNAL  1.0 ms", "└─ +1.0 ms  log record  INFO  hello"]
    assert expected == rendered([span(0)], [log(0, time=0, observed=nanoseconds(1))])


def test_duplicates_are_shown_once() -> None:
    """Spans by their id and records by their uid stand once with a number; others are kept."""
    same = log(1, 1, attributes={"log.record.uid": "u"})
    expected = [
        "span 1 \N{MULTIPLICATION SIGN}3  INTERNAL  1.0 ms",
        "├─ +0.0 ms  log record \N{MULTIPLICATION SIGN}2  INFO  hello",
        "├─ +0.0 ms  log record  INFO  hello",
        "└─ +0.0 ms  log record  INFO  hello",
    ]
    assert expected == rendered([span(1)] * 3, [same, same, log(1, 1), log(1, 1)])


def test_other_traces_are_left_out() -> None:
    """Only what carries the trace id is kept."""
    other = TRACE.replace("a", "b")
    spans, logs = (
        [replace(span(1), trace_id=other)],
        [log(1, trace_id=other), log(1, trace_id=None)],
    )
    found = build_trace(TRACE, spans, logs)
    assert found.empty
    assert render_trace(found) == f"trace {TRACE}  0.0 ms  spans 0  span events 0  log records 0"


@pytest.mark.parametrize("parents", [{1: 1}, {1: 2, 2: 1}, {1: 2, 2: 3, 3: 1, 4: 1, 5: 4}])
def test_spans_in_a_circle_are_shown(parents: dict[int, int]) -> None:
    """Spans that are their own ancestors neither hang the reader nor disappear."""
    lines = rendered([span(number, parent) for number, parent in parents.items()], [])
    shown = [line.split("span ")[1][0] for line in lines if "span " in line]
    assert sorted(shown) == [str(number) for number in sorted(parents)]
    assert lines[0].startswith("(parents in a circle)")


def test_a_very_deep_trace_is_shown() -> None:
    """Ten thousand spans in each other take neither the stack nor the width."""
    lines = rendered([span(1), *(span(n, n - 1) for n in range(2, 10_001))], [])
    assert len(lines) == 10_000
    assert max(map(len, lines)) <= 120
    assert lines[-1].startswith("…  ")
    assert lines[-1].endswith("└─ +9999.0 ms  span 10000  INTERNAL  1.0 ms")


def test_nothing_that_a_client_sent_can_forge_a_line() -> None:
    """Newlines, escape sequences and direction marks come out escaped, on one line of 120."""
    forged = "x\n└─ \x1b[2J\u202e\x00\ud800" + "y" * 500
    events = (SpanEvent(name=forged, time=nanoseconds(1), attributes={"exception.type": forged}),)
    hostile = span(
        1,
        name=forged,
        status="ERROR",
        status_message=forged,
        events=events,
        attributes={"http.request.method": forged, "http.route": 7, "db.query.text": forged},
    )
    audit = log(1, event_name="audit." + forged, attributes=dict.fromkeys(RECORD, forged))
    logs = [log(1, body=forged, severity_text=forged), log(1, body=[forged]), audit]
    lines = rendered([hostile], logs)
    assert len(lines) == 5
    assert max(map(len, lines)) <= 120
    assert all(line.isprintable() for line in lines)


def test_an_audit_record_never_shows_its_body() -> None:
    """Neither the text nor the object of an audit record holds its body, placed or not."""
    logs = [log(on, event_name="audit.user.update", body="secret") for on in (1, None)]
    found = build_trace(TRACE, [span(1)], logs)
    assert "secret" not in render_trace(found) + json.dumps(trace_as_dict(found))


def test_truncated_span_events_say_how_many_are_left_out() -> None:
    """The event that stands for those over the limit shows their number."""
    event = SpanEvent(
        name="audit.truncated", time=nanoseconds(1), attributes={"audit.truncated.count": 20}
    )
    assert rendered([span(1, events=(event,))], [])[1:] == [
        "└─ +0.0 ms  span event  audit.truncated  left out 20"
    ]


def test_a_span_shows_what_its_name_does_not_say() -> None:
    """Method and route are shown unless the name has them; an error without a message too."""
    attributes = {"http.request.method": "GET", "http.route": "/v1/users/<id>"}
    expected = ["GET  INTERNAL  1.0 ms  /v1/users/<id>  ERROR"]
    assert expected == rendered([span(1, name="GET", attributes=attributes, status="ERROR")], [])
