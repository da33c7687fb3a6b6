"""A real collector for a test session, as a child process on free ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from auditspan.errors import AuditConfigError

_CONFIG = """
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{otlp}"}}}}}}
  otlp/audit: {{protocols: {{http: {{endpoint: "127.0.0.1:{audit}", logs_url_path: /v1/audit}}}}}}
exporters:
  file/audit: &file
    {{path: "{directory}/audit/audit.jsonl", create_directory: true, rotation: {{max_backups: 0}}}}
  file/traces: {{<<: *file, path: "{directory}/telemetry/traces.jsonl"}}
  file/logs: {{<<: *file, path: "{directory}/telemetry/logs.jsonl"}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs/audit: {{receivers: [otlp/audit], exporters: [file/audit]}}
    traces: {{receivers: [otlp], exporters: [file/traces]}}
    logs: {{receivers: [otlp], exporters: [file/logs]}}
"""
"""As `otel-collector.yaml`, without its limits: what is acknowledged is in the file."""

_START_SECONDS = 30.0
_ATTEMPTS = 3
_PORTS = ("otlp", "audit")


def find_collector() -> Path | None:
    """Find the binary: `OTELCOL_BIN`, then `otelcol` or `otelcol-contrib` on PATH."""
    named = (
        os.environ.get("OTELCOL_BIN"),
        shutil.which("otelcol"),
        shutil.which("otelcol-contrib"),
    )
    return next((Path(path) for path in named if path), None)


@contextmanager
def running_process(binary: Path, directory: Path) -> Iterator[dict[str, int]]:
    """Run the collector during the block, with its files below a directory; yield its ports.

    Raises:
        AuditConfigError: it does not start; the message has the end of its log.
    """
    log = directory / "collector.log"
    for _ in range(_ATTEMPTS):
        ports = _free_ports()
        with log.open("wb") as output, _child(binary, directory, ports, output.fileno()) as child:
            if _answers(child, ports):
                yield ports
                return
    raise AuditConfigError(
        f"the collector {binary} did not start: {log.read_text(errors='replace')[-2000:]}"
    )


@contextmanager
def _child(
    binary: Path, directory: Path, ports: dict[str, int], output: int
) -> Iterator[subprocess.Popen[bytes]]:
    config = directory / "collector.yaml"
    config.write_text(_CONFIG.format(directory=directory, **ports))
    child = subprocess.Popen(  # noqa: S603 (the binary that the user has installed)
        [binary, "--config", config], stdout=output, stderr=output, stdin=subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


def _answers(child: subprocess.Popen[bytes], ports: dict[str, int]) -> bool:
    """Wait until it listens on all ports; return False if it has ended, as without a free port."""
    deadline = time.monotonic() + _START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        if all(_listens(port) for port in ports.values()):
            return True
        time.sleep(0.05)
    return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports() -> dict[str, int]:
    with ExitStack() as stack:  # all open at once, so that no number is picked twice
        sockets = [stack.enter_context(socket.socket()) for _ in _PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(_PORTS, sockets, strict=True)}
