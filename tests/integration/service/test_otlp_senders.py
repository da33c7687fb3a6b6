"""Real senders of log records: an SDK and a collector, as the page about them prints both."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen, run
from typing import Any

import pytest
from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

from auditspan_service.config import Settings
from support.collector import collector_binary
from support.patience import PATIENCE
from support.ports import free_port
from support.running import clean_environment
from support.served import served
from support.service import RunningService, running_service, settings_at

PAGE = Path(__file__).parents[3] / "docs/how-to/record-with-opentelemetry.md"


@pytest.fixture
def settings(tmp_path: Path, postgresql_url: str) -> Settings:
    """The service on one database: the senders do not see which."""
    return settings_at(tmp_path / "data", postgresql_url)


@pytest.fixture
def service(settings: Settings) -> Iterator[RunningService]:
    """The service."""
    with running_service(settings) as running:
        yield running


@pytest.fixture
def environ(service: RunningService) -> Iterator[dict[str, str]]:
    """What the printed examples read: the address of the service, and a key."""
    key = service.issue("audit:write", username="billing").text
    with served(service.app) as url:
        yield {**clean_environment(), "AUDITSPAN_URL": url, "AUDITSPAN_KEY": key}


def printed(language: str) -> str:
    """The first block in this language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def send(environ: dict[str, str], folder: Path) -> None:
    """Run the printed program."""
    program = folder / "example.py"
    program.write_text(printed("python"), encoding="utf-8")
    done = run([sys.executable, program], env=environ, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def events(service: RunningService) -> list[dict[str, Any]]:
    """The events that were sent."""
    return [body for body in service.bodies() if body["action"] == "invoice.sent"]


def test_sdk_records_an_event(
    service: RunningService, environ: dict[str, str], tmp_path: Path
) -> None:
    """The printed program, with protobuf and gzip."""
    send(environ, tmp_path)
    (body,) = events(service)
    assert ("42", "7", "billing") == (
        body["actor"]["id"],
        body["target"]["id"],
        body["service"]["name"],
    )
    assert "billing" == body["metadata"]["resource"]["service.name"]


def test_sdk_records_an_event_in_json(service: RunningService, environ: dict[str, str]) -> None:
    """With nested values, which are recorded as they are."""
    exporter = OTLPLogExporter(
        endpoint=f"{environ['AUDITSPAN_URL']}/v1/logs",
        headers={"Authorization": f"Bearer {environ['AUDITSPAN_KEY']}"},
    )
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("billing").emit(
        event_name="audit.invoice.sent",
        body={"lines": [1, 2.5, True], "token": "hunter2"},
        attributes={"audit.changes": {"total": {"new": 3}}},
    )
    provider.shutdown()
    (body,) = events(service)
    assert {"total": {"new": 3}} == body["changes"]
    assert {"lines": [1, 2.5, True]}.items() <= json.loads(
        body["metadata"]["body"]["$json"]
    ).items()
    assert "hunter2" not in str(body)


def test_collector_passes_events_on(
    service: RunningService, environ: dict[str, str], tmp_path: Path
) -> None:
    """The printed configuration, between the printed program and the service."""
    config, port = tmp_path / "collector.yaml", free_port()
    config.write_text(printed("yaml"), encoding="utf-8")
    environ |= {"OTLP_PORT": str(port), "QUEUE": str(tmp_path / "queue")}
    with (tmp_path / "log").open("wb") as log:
        collector = Popen([collector_binary(), "--config", config], env=environ, stderr=log)
    try:
        wait_until(lambda: answers(port))
        send({**environ, "AUDITSPAN_URL": f"http://127.0.0.1:{port}"}, tmp_path)
        wait_until(lambda: bool(events(service)))
    finally:
        collector.terminate()
        collector.wait()
    (body,) = events(service)
    assert ("42", "billing") == (body["actor"]["id"], body["service"]["name"])


def answers(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def wait_until(happened: Any) -> None:
    """Wait for it."""
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)
