"""Spans and log records are read back from files of OTLP JSON lines, damaged or not."""

from __future__ import annotations

import json
import logging
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator

from auditspan.errors import CollectorFilesError
from auditspan.telemetry.otlp import chunks
from auditspan.telemetry.otlp.files import (
    Damage,
    LogEntry,
    SpanEvent,
    SpanLink,
    SpanRecord,
    read_logs,
    read_spans,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE = "0000000000000000000000000000000a"
START = 1_767_225_600_000_000_000
OPENING = len(b'{"resourceLogs"')


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


def write_spans(file: Path) -> None:
    """Two spans, one with an event, a link and an error, as the SDK writes them."""
    resource = Resource({"service.name": "users"})
    provider = TracerProvider(resource=resource, id_generator=CountingIds(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(FileSpanExporter(file)))
    tracer = provider.get_tracer("a.scope")
    elsewhere = trace.SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=True)
    server = tracer.start_span(
        "POST /v1/users",
        kind=trace.SpanKind.SERVER,
        start_time=START,
        links=[trace.Link(elsewhere, {"why": "untrusted"})],
    )
    client = tracer.start_span(
        "INSERT",
        context=trace.set_span_in_context(server),
        kind=trace.SpanKind.CLIENT,
        start_time=START + 1_000,
    )
    client.set_status(trace.StatusCode.ERROR, "disk full")
    client.end(START + 2_000)
    server.set_attribute("http.response.status_code", 500)
    server.add_event("audit.user.create", {"audit.record.id": "e1"}, timestamp=START + 1_500)
    server.end(START + 3_000)
    provider.shutdown()


def span(**changes: Any) -> SpanRecord:
    """A span as `write_spans` writes it, but for the changes."""
    fields: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": "0000000000000001",
        "parent_span_id": None,
        "name": "POST /v1/users",
        "kind": "SERVER",
        "start": START,
        "end": START + 3_000,
        "status": "UNSET",
        "status_message": "",
        "attributes": {},
        "events": (),
        "links": (),
        "resource": {"service.name": "users"},
        "scope": "a.scope",
    }
    return SpanRecord(**fields | changes)


def log_line(text: str, *, ascii_only: bool = True, **fields: Any) -> bytes:
    """One export of one log record, as compact as both writers write it."""
    record = {"traceId": TRACE, "body": {"stringValue": text}} | fields
    group = {"resource": {"attributes": []}, "scopeLogs": [{"scope": {}, "logRecords": [record]}]}
    return json.dumps(
        {"resourceLogs": [group]}, separators=(",", ":"), ensure_ascii=ascii_only
    ).encode()


def bodies(path: Path, **options: Any) -> list[Any]:
    """The bodies of the log records at `path`."""
    return [record.body for record in read_logs(path, **options)]


def read(path: Path) -> tuple[list[Any], int]:
    """The bodies of the log records at `path`, and the number of damaged pieces."""
    damage = Damage()
    return bodies(path, damage=damage), damage.pieces


def test_spans_of_the_sdk_come_back_whole(tmp_path: Path) -> None:
    """Records of the SDK's file exporter are read back with every field."""
    write_spans(tmp_path / "traces.jsonl")
    expected = [
        span(
            span_id="0000000000000002",
            parent_span_id="0000000000000001",
            name="INSERT",
            kind="CLIENT",
            start=START + 1_000,
            end=START + 2_000,
            status="ERROR",
            status_message="disk full",
        ),
        span(
            attributes={"http.response.status_code": 500},
            events=(
                SpanEvent(
                    name="audit.user.create",
                    time=START + 1_500,
                    attributes={"audit.record.id": "e1"},
                ),
            ),
            links=(
                SpanLink(
                    trace_id="00000000000000000000000000000abc",
                    span_id="0000000000000def",
                    attributes={"why": "untrusted"},
                ),
            ),
        ),
    ]
    assert expected == list(read_spans(tmp_path / "traces.jsonl"))


def test_log_records_of_the_sdk_come_back_whole(tmp_path: Path) -> None:
    """A log record is read back with every field; without a span its ids are None."""
    provider = LoggerProvider(Resource({"service.name": "users"}), shutdown_on_exit=False)
    exporter = FileLogExporter(tmp_path / "audit.jsonl")
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    values: Any = {
        "text": "Zoë",
        "none": None,
        "empty": "",
        "true": True,
        "false": False,
        "zero": 0,
        "large": 2**62,
        "double": 0.5,
        "infinite": math.inf,
        "bytes": b"\x00\xff",
        "array": [1, ["a"], {}],
        "map": {"key": {"inner": [None]}},
    }
    provider.get_logger("audit").emit(
        LogRecord(
            timestamp=START,
            observed_timestamp=START + 1,
            severity_text="WARN",
            severity_number=SeverityNumber.WARN,
            body=values,
            attributes={"log.record.uid": "e1"},
            event_name="audit.user.create",
        )
    )
    provider.shutdown()
    expected = LogEntry(
        trace_id=None,
        span_id=None,
        event_name="audit.user.create",
        body=values,
        severity_text="WARN",
        severity_number=13,
        time=START,
        observed=START + 1,
        attributes={"log.record.uid": "e1"},
        resource={"service.name": "users"},
        scope="audit",
    )
    assert [expected] == list(read_logs(tmp_path / "audit.jsonl"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"intValue": 7}, 7),
        ({"intValue": "-7"}, -7),
        ({"doubleValue": 3}, 3.0),
        ({"doubleValue": "+Inf"}, math.inf),
        ({"doubleValue": "-Inf"}, -math.inf),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"bytesValue": "AP8="}, b"\x00\xff"),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "k"}]}}, {"k": None}),
        ({"stringValue": None}, None),
        ({"newerValue": 1}, None),
        ({}, None),
        (None, None),
    ],
)
def test_every_spelling_of_a_value_is_read(tmp_path: Path, written: Any, expected: Any) -> None:
    """Values are read as the collector, the SDK and the specification spell them."""
    (tmp_path / "logs.jsonl").write_bytes(log_line("", body=written))
    assert [expected] == bodies(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"traceId": "xyz"},
        {"traceId": "00"},
        {"spanId": 7},
        {"timeUnixNano": "soon"},
        {"timeUnixNano": True},
        {"timeUnixNano": "1" * 5_000},
        {"severityNumber": 1.5},
        {"attributes": {}},
        {"attributes": [1]},
        {"attributes": [{"key": 1}]},
        {"body": "bare"},
        {"body": {"stringValue": 1}},
        {"body": {"boolValue": "true"}},
        {"body": {"intValue": []}},
        {"body": {"doubleValue": "much"}},
        {"body": {"doubleValue": []}},
        {"body": {"bytesValue": "§"}},
    ],
)
def test_a_record_that_is_not_otlp_is_counted(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A malformed record is counted as damage, and those beside it are read."""
    document = json.loads(log_line("before"))
    records = document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    records += [records[0] | wrong, records[0] | {"body": {"stringValue": "after"}}]
    (tmp_path / "logs.jsonl").write_text(json.dumps(document) + "\n")
    expected = (["before", "after"], 1)
    assert expected == read(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"7",
        b'{"other":[]}',
        b'{"resourceLogs":{}}',
        b'{"resourceLogs":[{"scopeLogs":7}]}',
        b"\x00\x00\x00",
        b'{"resourceLogs":' + b"[" * 100_000,
        b'{"resourceLogs":[7]}',
    ],
)
def test_a_line_that_is_not_otlp_is_counted(tmp_path: Path, line: bytes) -> None:
    """A foreign line is counted as one damaged piece, and the lines around it are read."""
    (tmp_path / "logs.jsonl").write_bytes(
        b"\n".join([log_line("before"), line, log_line("after"), b""])
    )
    expected = (["before", "after"], 1)
    assert expected == read(tmp_path)


def test_a_value_nested_deeper_than_the_stack_does_no_harm(tmp_path: Path) -> None:
    """A record nested as deep as JSON can be read is read or counted, never an exception."""
    found = set()
    for depth in (10, 100, 200, 300, 500):
        opened, closed = '{"arrayValue":{"values":[' * depth, "]}}" * depth
        line = log_line("BODY").replace(b'{"stringValue":"BODY"}', f"{opened}{closed}".encode())
        (tmp_path / "logs.jsonl").write_bytes(line + b"\n")
        records, pieces = read(tmp_path)
        found.add(len(records) + pieces)
    assert found == {1}


NASTY = st.one_of(
    st.text(),
    st.sampled_from(
        ['{"resourceLogs":[', '\\{"resource', '"}]}{"resourceLogs":[]}', "é€😀\n\\", "\\", "{", '"']
    ),
)
PIECES = st.lists(
    st.tuples(
        NASTY,
        st.booleans(),  # ASCII only, as the SDK writes, or UTF-8, as the collector does
        st.none() | st.integers(min_value=0, max_value=500),  # where it is cut
        st.booleans(),  # whether a newline follows
    ),
    max_size=12,
)


def damaged_pieces(pieces: list[tuple[int, bool, bool]]) -> int:
    """Return how many of (length, is complete, precedes a newline) a reader can distinguish."""
    count, after_torn = 0, False
    for length, is_complete, has_newline in pieces:
        if is_complete:
            after_torn = False
        elif length:
            count += length >= OPENING or not after_torn
            after_torn = True
        after_torn = after_torn and not has_newline
    return count


@given(pieces=PIECES)
@settings(deadline=None)
def test_every_complete_export_survives_any_damage(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, bool, int | None, bool]]
) -> None:
    """Wherever lines are cut and glued, all complete exports are read and the pieces counted."""
    content, complete, written = b"", [], []
    for text, ascii_only, cut, has_newline in pieces:
        line = log_line(text, ascii_only=ascii_only)
        kept = line if cut is None else line[: cut % len(line)]
        complete += [text] if cut is None else []
        written.append((len(kept), cut is None, has_newline))
        content += kept + b"\n" * has_newline
    file = tmp_path_factory.mktemp("torn") / "audit.jsonl"
    file.write_bytes(content)
    assert (complete, damaged_pieces(written)) == read(file)


@given(text=NASTY)
@settings(deadline=None, max_examples=25)
def test_every_cut_leaves_one_piece_and_the_next_export(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """An export cut at any byte and the next one glued to it: one damaged piece, one record."""
    line = log_line(text, ascii_only=False)
    cuts = range(1, len(line))
    file = tmp_path_factory.mktemp("glued") / "audit.jsonl"
    file.write_bytes(b"".join(line[:cut] + line + b"\n" for cut in cuts))
    assert ([text] * len(cuts), len(cuts)) == read(file)


def test_damage_is_located_without_its_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Damage names the file, the line and whether it may be unfinished; it holds no content."""
    file = tmp_path / "audit.jsonl"
    line = log_line("secret")
    file.write_bytes(line + b"\n" + line[:-9] + b"\n" + line[:-9])
    damage = Damage()
    bodies(file, damage=damage)
    expected = [(file, len(line) + 1, False), (file, 2 * len(line) - 7, True)]
    assert expected == [(p.file, p.line_offset, p.unfinished) for p in damage.places]
    with caplog.at_level(logging.WARNING):
        bodies(file)
    assert caplog.text.count("2 damaged pieces") == 1
    assert "secret" not in caplog.text + repr(damage)


def test_a_line_without_end_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line over the limit does not fill the memory, is counted, and the next line is read."""
    monkeypatch.setattr(chunks, "LINE_LIMIT", 1_000)
    file = tmp_path / "audit.jsonl"
    file.write_bytes(log_line("x" * 5_000) + b"\n" + log_line("after") + b"\n")
    records, pieces = read(file)
    assert records == ["after"]
    assert pieces > 0


def test_invalid_utf8_in_a_string_costs_only_that_character(tmp_path: Path) -> None:
    """The collector passes on invalid UTF-8 as it came; the record is read all the same."""
    (tmp_path / "logs.jsonl").write_bytes(log_line("a?b").replace(b"?", b"\xe9") + b"\n")
    expected = (["a\N{REPLACEMENT CHARACTER}b"], 0)
    assert expected == read(tmp_path)


ROTATED = [
    "audit-2026-01-01T00-00-00.000-size.jsonl",
    "audit-2026-01-01T00-00-00.001-time.jsonl",
    "audit-2026-01-01T10-00-00.000.jsonl",
    "audit.jsonl",
]


def test_rotated_files_are_read_oldest_first(tmp_path: Path) -> None:
    """Rotated files come in the order of the times in their names, the live file last."""
    for name in reversed(ROTATED):
        (tmp_path / name).write_bytes(log_line(name) + b"\n")
    (tmp_path / "audit.jsonl.bak").write_bytes(log_line("no") + b"\n")
    assert bodies(tmp_path) == ROTATED


def test_newline_in_the_next_file_is_not_damage(tmp_path: Path) -> None:
    """A record that ends one file and whose newline begins the next is complete."""
    (tmp_path / ROTATED[0]).write_bytes(log_line("first"))
    (tmp_path / "audit.jsonl").write_bytes(b"\n" + log_line("second"))
    expected = (["first", "second"], 0)
    assert expected == read(tmp_path)


def test_nothing_is_missed_or_doubled_when_files_rotate_meanwhile(tmp_path: Path) -> None:
    """A file that is rotated away between two reads is read once, and its successor after it."""
    for name in (ROTATED[0], "audit.jsonl"):
        (tmp_path / name).write_bytes(log_line(name) + b"\n")

    def reading() -> Iterator[Any]:
        for record in read_logs(tmp_path):
            yield record.body
            if record.body == ROTATED[0]:
                (tmp_path / "audit.jsonl").rename(tmp_path / ROTATED[1])
                (tmp_path / "audit.jsonl").write_bytes(log_line("new") + b"\n")

    expected = [ROTATED[0], "audit.jsonl", "new"]
    assert expected == list(reading())


def test_a_directory_is_read_with_the_layout_below_it(tmp_path: Path) -> None:
    """The collector's data directory gives the records of audit/ and of telemetry/."""
    for name in ("audit/audit.jsonl", "telemetry/logs.jsonl", "elsewhere/logs.jsonl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(log_line(name) + b"\n")
    write_spans(tmp_path / "telemetry/traces.jsonl")
    (tmp_path / "telemetry/metrics.jsonl").write_text('{"resourceMetrics":[{}]}\n')
    damage = Damage()
    expected = ["audit/audit.jsonl", "telemetry/logs.jsonl"]
    assert expected == bodies(tmp_path, damage=damage)
    expected = ["INSERT", "POST /v1/users"]
    assert expected == [s.name for s in read_spans(tmp_path, damage=damage)]
    assert Damage() == damage


def test_an_export_behind_a_torn_one_of_another_signal_is_read(tmp_path: Path) -> None:
    """Even where signals share a file, a line is passed over only if nothing wanted is in it."""
    (tmp_path / "all.jsonl").write_bytes(b'{"resourceMetrics":[{"re' + log_line("wanted") + b"\n")
    expected = (["wanted"], 1)
    assert expected == read(tmp_path)


def test_only_one_trace_is_read_when_asked_for(tmp_path: Path) -> None:
    """With a trace id, only its records come, also from an export that holds others."""
    other = TRACE.replace("a", "b")
    document = json.loads(log_line("wanted"))
    records = document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    records.append(records[0] | {"traceId": other})
    torn = log_line("torn")[:-5]
    lines = [json.dumps(document).encode(), log_line("other", traceId=other), torn + torn[:40]]
    (tmp_path / "logs.jsonl").write_bytes(b"\n".join(lines) + log_line("glued"))
    expected = ["wanted", "glued"]
    assert expected == bodies(tmp_path, trace_id=TRACE.upper(), damage=Damage())


def test_an_empty_directory_holds_nothing(tmp_path: Path) -> None:
    """A collector that has not written yet is not an error."""
    assert not bodies(tmp_path)


@pytest.mark.parametrize("name", ["absent", "absent/audit.jsonl", "file/audit.jsonl"])
def test_absent_file_names_the_setting(tmp_path: Path, name: str) -> None:
    """A path that is not there fails at the call and names the path and the setting."""
    (tmp_path / "file").touch()
    with pytest.raises(CollectorFilesError, match="AUDITSPAN_COLLECTOR_FILES") as error:
        read_spans(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_files_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    """A file that the operating system refuses is an error of ours, never passed over."""
    file = tmp_path / "audit.jsonl"
    file.symlink_to(file)
    with pytest.raises(CollectorFilesError, match=r"cannot be read"):
        read_logs(file)
