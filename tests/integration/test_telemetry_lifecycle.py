"""Telemetry from its set-up to its end: who reports, where to, and what the last flush saves."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from auditspan.errors import AuditConfigError
from auditspan.telemetry.otlp.files import Damage, read_logs, read_spans
from auditspan_service.telemetry.exporters import Exporters, file_exporter
from auditspan_service.telemetry.logs import setup_logging, teardown_logging
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry
from support.patience import PATIENCE
from support.ports import free_port
from support.relaying import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION = """
import logging, os, time
from pathlib import Path
import flask
from auditspan_service.telemetry.instrumentation import instrument_flask
from auditspan_service.telemetry.logs import setup_logging
from auditspan_service.telemetry.providers import TelemetryConfig, setup_telemetry

config = TelemetryConfig(sink="file", files=Path(os.environ["FILES"]), span_delay_millis=3_600_000,
                         log_delay_millis=3_600_000, install_global=False)
telemetry = setup_telemetry(config)
setup_logging(logger_provider=telemetry.logger_provider)
app = flask.Flask(__name__)

@app.get("/<int:number>")
def answer(number):
    logging.getLogger("answers").info("answer %d", number)
    return str(os.getpid())

@app.get("/slow")
def slow():
    Path(os.environ["FILES"], "begun").touch()
    time.sleep(1)
    logging.getLogger("answers").info("slow answer")
    return "late"

instrument_flask(app, telemetry)
"""


def make_span(telemetry: Telemetry, name: str = "work") -> None:
    """One finished span."""
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span(name):
        pass


def resource_of(**settings: Any) -> dict[str, Any]:
    """The resource that these settings make."""
    config = TelemetryConfig(install_global=False, **settings)
    telemetry = setup_telemetry(config, Exporters())
    telemetry.shutdown()
    return dict(telemetry.resource.attributes)


def test_resource_by_default() -> None:
    """Without settings the service says its name, its version and a random instance."""
    resource = resource_of()

    assert resource["service.name"] == "auditspan"
    assert str(resource["service.version"])[0].isdigit()
    assert len(str(resource["service.instance.id"])) == 36


def test_operator_has_the_last_word_on_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME win over what the program sets."""
    attributes = "service.version=9,deployment.environment.name=test,service.instance.id=theirs"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "users")

    resource = resource_of(service_name="x", service_version="1", service_instance_id="ours")

    assert {
        name: value for name, value in resource.items() if not name.startswith("telemetry.")
    } == {
        "service.name": "users",
        "service.version": "9",
        "service.instance.id": "theirs",
        "deployment.environment.name": "test",
    }


def test_sdk_can_be_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED keeps its meaning."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    exporter = InMemorySpanExporter()
    telemetry = setup_telemetry(TelemetryConfig(install_global=False), Exporters(spans=exporter))
    make_span(telemetry)

    assert telemetry.shutdown()
    assert exporter.get_finished_spans() == ()


def test_several_telemetries_side_by_side(tmp_path: Path) -> None:
    """Two that are not installed globally report independently; shutdown can be repeated."""
    names = ["first", "second"]
    telemetries = [
        setup_telemetry(TelemetryConfig(sink="file", files=tmp_path / name, install_global=False))
        for name in names
    ]
    for telemetry, name in zip(telemetries, names, strict=True):
        make_span(telemetry, name)
        assert telemetry.shutdown()
        assert telemetry.shutdown()

    assert [[span.name for span in read_spans(tmp_path / name)] for name in names] == [
        ["first"],
        ["second"],
    ]


def test_writers_of_one_file_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    """Several writers, as several workers are, leave every line of their files whole."""
    memory = InMemorySpanExporter()
    telemetry = setup_telemetry(TelemetryConfig(install_global=False), Exporters(spans=memory))
    make_span(telemetry, "x" * 20_000)
    telemetry.shutdown()
    writers = [file_exporter("traces", tmp_path) for _ in range(4)]

    def write(exporter: SpanExporter) -> None:
        for _ in range(250):
            exporter.export(memory.get_finished_spans())

    threads = [threading.Thread(target=write, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.shutdown()

    damage = Damage()
    assert sum(1 for _ in read_spans(tmp_path, damage=damage)) == 4 * 250
    assert damage.pieces == 0


def test_unusable_settings_are_refused(tmp_path: Path) -> None:
    """The file sink without a directory, or in one that cannot be made, is refused in words."""
    (tmp_path / "file").touch()
    for files in (None, tmp_path / "file"):
        config = TelemetryConfig(sink="file", files=files, install_global=False)
        with pytest.raises(AuditConfigError, match="AUDITSPAN_"):
            setup_telemetry(config)


def test_console_sink_writes_spans_as_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The console sink prints each export of spans as one JSON line on standard error."""
    telemetry = setup_telemetry(TelemetryConfig(sink="console", install_global=False))
    make_span(telemetry)
    telemetry.shutdown()

    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    assert list(json.loads(line)) == ["resourceSpans"]


class Receiver(BaseHTTPRequestHandler):
    """Answers 200 to whatever is posted, and remembers where it was posted to."""

    paths: list[str]

    def do_POST(self) -> None:
        """Take an export."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def receiver() -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that takes exports: its base URL, and the paths that were posted to."""
    paths: list[str] = []
    handler = type("OneReceiver", (Receiver,), {"paths": paths})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


def report_once(endpoint: str | None) -> None:
    """One span, one log record and one metric, with the sink `otlp`."""
    telemetry = setup_telemetry(TelemetryConfig(endpoint=endpoint, install_global=False))
    setup_logging(logger_provider=telemetry.logger_provider)
    make_span(telemetry)
    telemetry.meter_provider.get_meter("test").create_counter("counted").add(1)
    logging.getLogger("app").warning("logged")
    teardown_logging()
    assert telemetry.shutdown(PATIENCE)


def test_otlp_goes_to_the_given_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is given wins over the variable; each signal has its path."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with receiver() as (endpoint, paths):
        report_once(endpoint + "/")

    assert {"/v1/traces", "/v1/logs", "/v1/metrics"} == set(paths)


def test_otlp_goes_where_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, the standard variables decide, signal by signal."""
    with receiver() as (endpoint, paths):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{endpoint}/base")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{endpoint}/only-traces")
        report_once(None)

    assert {"/only-traces", "/base/v1/logs", "/base/v1/metrics"} == set(paths)


def test_shutdown_does_not_wait_for_a_dead_collector(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When nobody answers, shutdown returns after its timeout and says that it lost data."""
    before = set(threading.enumerate())
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        telemetry = setup_telemetry(TelemetryConfig(endpoint=endpoint, install_global=False))
        make_span(telemetry)
        started = time.monotonic()
        in_time = telemetry.shutdown(timeout=0.5)
        took = time.monotonic() - started

    assert not in_time
    assert 0.5 <= took < 8  # the exporter itself gives up after ten
    wait_for(lambda: set(threading.enumerate()) <= before)  # else it complains in other tests
    caplog.clear()


def test_global_telemetry_is_flushed_when_the_process_exits(tmp_path: Path) -> None:
    """A process that just ends has its providers installed, and saves what is waiting."""
    program = (
        "from pathlib import Path\n"
        "from opentelemetry import trace\n"
        "from auditspan_service.telemetry.providers import TelemetryConfig, setup_telemetry\n"
        "files = Path('files')\n"
        "setup_telemetry(TelemetryConfig(sink='file', files=files, span_delay_millis=3_600_000))\n"
        "trace.get_tracer('test').start_span('last').end()\n"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert [span.name for span in read_spans(tmp_path / "files")] == ["last"]


def get(url: str) -> str:
    """The body of the answer, waiting for the server to come up."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_gunicorn_flushes_on_sigterm(tmp_path: Path) -> None:
    """SIGTERM under gunicorn finishes the running request and saves every span and record."""
    (tmp_path / "tiny.py").write_text(APPLICATION, encoding="utf-8")
    port, files, home = free_port(), tmp_path / "files", tmp_path / "home"
    home.mkdir()
    configuration = "python:auditspan_service.server.gunicorn_conf"
    command = [sys.executable, "-m", "gunicorn", "-c", configuration, "tiny:app"]
    arguments = ["--chdir", str(tmp_path), "-b", f"127.0.0.1:{port}", "-w", "2"]
    inherited = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    environment = inherited | {"FILES": str(files), "HOME": str(home)}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([*command, *arguments], env=environment, stderr=log) as server,
    ):
        for number in range(20):
            get(f"http://127.0.0.1:{port}/{number}")
        slow = threading.Thread(target=get, args=(f"http://127.0.0.1:{port}/slow",))
        slow.start()
        wait_for((files / "begun").exists)
        server.send_signal(signal.SIGTERM)
        status = server.wait(PATIENCE)
        slow.join()

    said = (tmp_path / "log").read_text(encoding="utf-8")
    bodies = [f"answer {number}" for number in range(20)] + ["slow answer"]
    spans = {span.trace_id: span.name for span in read_spans(files)}
    logs = {str(log.body): log.trace_id for log in read_logs(files) if log.scope == "answers"}
    assert status == 0, said
    assert set(bodies) == set(logs)
    assert set(logs.values()) == set(spans), said
    assert list(home.iterdir()) == []  # no control socket
    assert "Traceback" not in said
