"""docs/reference/otel-variables.md, cell by cell: each variable and what it does to each signal."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.metrics.export import MetricsData

from auditspan import Actor
from auditspan.delivery.log_record import log_record
from auditspan.errors import AuditConfigError
from auditspan.format import SealedRow
from auditspan.format.record import AuditRecord
from auditspan.telemetry import service_from_resource
from auditspan.trail.settings.sinks import make_sinks
from auditspan_service.config import load_settings
from auditspan_service.telemetry.exporters import select_exporters
from auditspan_service.telemetry.logs import setup_logging, teardown_logging
from auditspan_service.telemetry.otlp_exporters import otlp_exporter
from auditspan_service.telemetry.providers import TelemetryConfig, setup_telemetry
from integration.sinks.recording import Request, recorder
from support.patience import PATIENCE
from support.running import clean_environment

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "otel-variables.md"
SIGNALS = ("traces", "logs", "metrics", "audit")
OTLP = "OTEL_EXPORTER_OTLP_"
LONG = "x" * 40
MESSAGES: dict[str, Any] = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "audit": logs_service_pb2.ExportLogsServiceRequest,
}


@dataclass
class Signal:
    """The request of one signal, and the first record in it."""

    request: Request | None
    resource: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of the record."""
        return attributes(self.record)


def attributes(owner: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes as text."""
    found = owner.get("attributes", ())
    return {one["key"]: str(next(iter(one["value"].values()))) for one in found}


def parsed(signal: str, request: Request) -> Signal:
    """Read a request in either encoding."""
    body = request.body
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    if request.headers["content-type"] == "application/json":
        document = json.loads(body)
    else:
        document = MessageToDict(MESSAGES[signal].FromString(body))
    (group, *_) = next(iter(document.values()))
    scope = next(value for name, value in group.items() if name.startswith("scope"))[0]
    record = next(value for name, value in scope.items() if isinstance(value, list))[0]
    if signal == "metrics":
        record = record["sum"]["dataPoints"][0]
    return Signal(request, attributes(group["resource"]), record)


def report(endpoint: str | None = None) -> None:
    """Emit a span, a log record, a metric and an audit record."""
    telemetry = setup_telemetry(TelemetryConfig(install_global=False))
    setup_logging(logger_provider=telemetry.logger_provider)
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span(
        "span", attributes={"long": LONG, "second": "x"}
    ):
        logging.getLogger("app").warning("logged", extra={"long": LONG, "second": "x"})
    counter = telemetry.meter_provider.get_meter("test").create_counter("counted")
    counter.add(1, {"long": LONG, "second": "x"})
    teardown_logging()
    assert telemetry.shutdown(PATIENCE)
    if endpoint:
        (sink,) = make_sinks(load_settings(audit_endpoint=f"{endpoint}/v1/audit"))
        sink.send([log_record(written())])
        sink.close()


def written() -> SealedRow:
    """Return a row of this program, with a long target."""
    record = AuditRecord(
        event_id="017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        action="user.update",
        actor=Actor.user(LONG),
        tx_id="tx",
        service=service_from_resource(),
    )
    return SealedRow(0, 1, record.event_id, record.occurred_at, record.body(), None)


def arrived(signal: Signal) -> bool:
    """Return whether anything was sent."""
    return signal.request is not None


def header(name: str) -> Callable[[Signal], str | None]:
    """Return what reads a header."""
    return lambda signal: signal.request.headers.get(name) if signal.request else None


def path(signal: Signal) -> str:
    """Return where it was sent to."""
    assert signal.request
    return signal.request.target


def resource(name: str) -> Callable[[Signal], str | None]:
    """Return what reads an attribute of the resource."""
    return lambda signal: signal.resource.get(name)


def length(signal: Signal) -> int | None:
    """Return the length of the long attribute."""
    value = signal.attributes.get("long", signal.attributes.get("audit.actor.id"))
    return None if value is None else len(value)


def count(signal: Signal) -> int:
    """Return the number of attributes."""
    return len(signal.attributes)


PB, JSON = "application/x-protobuf", "application/json"
PATHS = ("/v1/traces", "/v1/logs", "/v1/metrics", "/v1/audit")
WHOLE = len(LONG)
Case = tuple[str, str, Callable[[Signal], Any], tuple[Any, Any, Any, Any]]
#: A variable, its value, what to look at, and what it is for each of the signals.
CASES: list[Case] = [
    ("OTEL_SDK_DISABLED", "true", arrived, (False, False, False, True)),
    ("OTEL_TRACES_EXPORTER", "none", arrived, (False, True, True, True)),
    ("OTEL_LOGS_EXPORTER", "none", arrived, (True, False, True, True)),
    ("OTEL_METRICS_EXPORTER", "none", arrived, (True, True, False, True)),
    ("OTEL_TRACES_EXPORTER", "console", arrived, (False, True, True, True)),
    ("OTEL_LOGS_EXPORTER", "console", arrived, (True, False, True, True)),
    ("OTEL_METRICS_EXPORTER", "console", arrived, (True, True, False, True)),
    ("OTEL_TRACES_EXPORTER", "otlp", path, PATHS),
    (f"{OTLP}TRACES_ENDPOINT", "{url}/own", path, ("/own", *PATHS[1:])),
    (f"{OTLP}LOGS_ENDPOINT", "{url}/own", path, (PATHS[0], "/own", *PATHS[2:])),
    (f"{OTLP}METRICS_ENDPOINT", "{url}/own", path, (*PATHS[:2], "/own", PATHS[3])),
    (f"{OTLP}PROTOCOL", "http/json", header("content-type"), (JSON, JSON, JSON, PB)),
    (
        f"{OTLP}LOGS_PROTOCOL",
        "http/json",
        header("content-type"),
        (PB, JSON, PB, PB),
    ),
    (f"{OTLP}HEADERS", "x-key=a%20b", header("x-key"), ("a b",) * 4),
    (f"{OTLP}LOGS_HEADERS", "x-key=a", header("x-key"), (None, "a", None, "a")),
    (f"{OTLP}TRACES_HEADERS", "x-key=a", header("x-key"), ("a", None, None, None)),
    (f"{OTLP}COMPRESSION", "gzip", header("content-encoding"), ("gzip",) * 4),
    (f"{OTLP}LOGS_COMPRESSION", "gzip", header("content-encoding"), (None, "gzip", None, "gzip")),
    ("OTEL_SERVICE_NAME", "shop", resource("service.name"), ("shop",) * 4),
    ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop", resource("service.name"), ("shop",) * 4),
    ("OTEL_RESOURCE_ATTRIBUTES", "service.version=2", resource("service.version"), ("2",) * 4),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "cloud.region=eu",
        resource("cloud.region"),
        ("eu",) * 4,
    ),
    ("OTEL_TRACES_SAMPLER", "always_off", arrived, (False, True, True, True)),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3", length, (3, 3, WHOLE, WHOLE)),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3", length, (3, WHOLE, WHOLE, WHOLE)),
    ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3", length, (WHOLE, 3, WHOLE, WHOLE)),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "1", lambda one: min(count(one), 2), (1, 1, 2, 2)),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1", lambda one: min(count(one), 2), (1, 2, 2, 2)),
    ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "1", lambda one: min(count(one), 2), (2, 1, 2, 2)),
]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AUDITSPAN_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.mark.filterwarnings("ignore::opentelemetry.sdk._logs.LogRecordDroppedAttributesWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}={case[1]}")
def test_variable_does_to_each_signal_what_the_page_says(
    monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    """A variable has its standard meaning for three signals, and the documented one for audit."""
    variable, value, look, expected = case
    with recorder() as receiver:
        monkeypatch.setenv(f"{OTLP}ENDPOINT", receiver.url)
        monkeypatch.setenv(variable, value.format(url=receiver.url))
        report(receiver.url)
    own = dict(zip(PATHS, SIGNALS, strict=True))
    own["/own"] = next((signal for signal in SIGNALS if signal.upper() in variable), "")
    found = {own[one.target]: parsed(own[one.target], one) for one in receiver.requests}
    assert expected == tuple(look(found.get(signal, Signal(None))) for signal in SIGNALS)


def test_every_variable_of_the_page_is_tested_and_no_other() -> None:
    """The table has the variables of the matrix, and those of the tests below."""
    listed = re.findall(r"^\| `(OTEL_\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    below = {"OTEL_LOG_LEVEL", "OTEL_PROPAGATORS"}
    assert {case[0] for case in CASES} | below == set(listed)


class Service(
    trace_service_pb2_grpc.TraceServiceServicer,
    logs_service_pb2_grpc.LogsServiceServicer,
    metrics_service_pb2_grpc.MetricsServiceServicer,
):
    """The three services of OTLP over gRPC, which keep the kinds of their requests."""

    def __init__(self) -> None:
        self.requests: set[str] = set()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 (of gRPC)
        """Take an export."""
        name = type(request).__name__
        self.requests.add(name)
        return {
            "ExportTraceServiceRequest": trace_service_pb2.ExportTraceServiceResponse,
            "ExportLogsServiceRequest": logs_service_pb2.ExportLogsServiceResponse,
            "ExportMetricsServiceRequest": metrics_service_pb2.ExportMetricsServiceResponse,
        }[name]()


@contextmanager
def grpc_receiver() -> Iterator[tuple[str, Service]]:
    """A gRPC server with the three services."""
    service, server = Service(), grpc.server(ThreadPoolExecutor(3))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service, server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(service, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", service
    finally:
        server.stop(None).wait(PATIENCE)


def test_grpc_exports_the_three_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the protocol grpc traces, logs and metrics go over gRPC."""
    with grpc_receiver() as (url, service):
        monkeypatch.setenv(f"{OTLP}ENDPOINT", url)
        monkeypatch.setenv(f"{OTLP}PROTOCOL", "grpc")
        report()
    assert {MESSAGES[signal].__name__ for signal in SIGNALS} == service.requests


def test_own_collector_is_reached_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is given, such as that of `auditspan up`, is never used with gRPC."""
    monkeypatch.setenv(f"{OTLP}PROTOCOL", "grpc")
    with recorder() as receiver:
        exporter = otlp_exporter("metrics", receiver.url)
        exporter.export(MetricsData(resource_metrics=[]), timeout_millis=5000)
        exporter.shutdown()
    assert ["/v1/metrics"] == [one.target for one in receiver.requests]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_LOGS_EXPORTER", "otlp,console"),
        (f"{OTLP}PROTOCOL", "http/xml"),
    ],
)
def test_unknown_value_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """The sentence names the variable, and what it may be."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(AuditConfigError, match=rf"Invalid {variable}.*{value}.*expected"):
        select_exporters("otlp")


@pytest.mark.parametrize(
    ("protocol", "package", "extra"),
    [
        ("grpc", "opentelemetry.exporter.otlp.proto.grpc", "grpc"),
        ("http/json", "opentelemetry.exporter.otlp.json.http", "http-json"),
    ],
)
def test_server_refuses_a_protocol_that_is_not_installed(
    tmp_path: Path, protocol: str, package: str, extra: str
) -> None:
    """`auditspan serve` ends at once, with one sentence that names the extra."""
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from auditspan_service.cli import main; main(['serve', '--port', '0'])"
    )
    environ = {**clean_environment(), "AUDITSPAN_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environ, f"{OTLP}PROTOCOL": protocol},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
    assert f"pip install 'auditspan[{extra}]'" in done.stderr


@pytest.mark.parametrize(
    ("level", "shown"), [("", ["W"]), ("debug", ["D", "W"]), ("error", []), ("none", [])]
)
def test_log_level_is_that_of_the_sdk(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
    shown: list[str],
) -> None:
    """OTEL_LOG_LEVEL decides which records of the SDK itself are printed."""
    monkeypatch.setenv("OTEL_LOG_LEVEL", level)
    setup_logging(log_format="json")
    logger = logging.getLogger("opentelemetry.sdk.trace")
    logger.debug("D")
    logger.warning("W")
    teardown_logging()
    assert shown == [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("named", "fields"),
    [
        ("", "['baggage', 'traceparent', 'tracestate']"),
        ("tracecontext", "['traceparent', 'tracestate']"),
        ("none", "[]"),
    ],
)
def test_propagators_are_those_of_the_variable(named: str, fields: str) -> None:
    """OTEL_PROPAGATORS decides which headers are written; the SDK reads it when it is imported."""
    program = (
        "from opentelemetry import propagate\n"
        "import auditspan_service.telemetry.instrumentation\n"
        "print(sorted(propagate.get_global_textmap().fields))"
    )
    environ = {**clean_environment(), **({"OTEL_PROPAGATORS": named} if named else {})}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    assert fields == done.stdout.strip()
