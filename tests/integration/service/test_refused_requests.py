"""Requests that the HTTP servers refuse before the application sees them."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.service.test_commands import Place, wait_until_ready
from support.patience import PATIENCE
from support.ports import free_port
from support.running import AUDITSPAN, Up, clean_environment

SECRET = "c0ffee" * 8
KEY = f"ask_7_{SECRET}"
REFUSED = {
    "header without colon": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {KEY}\r\n\r\n",
    "header name": f"GET / HTTP/1.1\r\nHost: x\r\nBearer {KEY}: x\r\n\r\n",
    "header value": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {KEY}\x01\r\n\r\n",
    "request line": f"GET / {KEY} HTTP/1.1\r\nHost: x\r\n\r\n",
    "method": f"{KEY} / HTTP/1.1\r\nHost: x\r\n\r\n",
    "version": f"GET / HTTP/{KEY}\r\nHost: x\r\n\r\n",
    "target": f"GET http://[{KEY}]/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "expectation": f"GET / HTTP/1.1\r\nHost: x\r\nExpect: {KEY}\r\n\r\n",
    "coding": f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {KEY}\r\n\r\n",
    "header without end": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}",
}
BROKEN_CHUNK = (
    "POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    f"Authorization: Bearer {{key}}\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n\r\n"
)


def exchange(port: int, request: str) -> bytes:
    """Send these bytes on a connection of their own, end it, and read the whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(request.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
        return answer


@contextlib.contextmanager
def serving(place: Place, **environ: str) -> Iterator[int]:
    """`auditspan serve` with one worker; its standard error is in `serve.log`."""
    port = free_port()
    with (place.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [AUDITSPAN, "serve", "--port", str(port), "--workers", "1"],
            env={**clean_environment(), **place.environ, "AUDITSPAN_SINK": "file", **environ},
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


@pytest.fixture
def sqlite_place(tmp_path: Path, sqlite_url: str) -> Place:
    """A data directory with the keys, and a SQLite database with the schema."""
    place = Place(tmp_path / "data", sqlite_url)
    place.objects("keys", "init")
    return place


def quoting_files(folder: Path) -> list[str]:
    """The files below a directory that hold the secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if SECRET.encode() in path.read_bytes())


@pytest.mark.parametrize("level", [pytest.param("info", marks=pytest.mark.slow), "debug"])
def test_serve_logs_no_part_of_a_refused_request(sqlite_place: Place, level: str) -> None:
    """Neither standard error nor the telemetry files quote a request that gunicorn refused."""
    (made,) = sqlite_place.objects("keys", "create", "--username", "kim", "--scope", "admin")
    requests = [*REFUSED.values(), BROKEN_CHUNK.format(key=made["key"])]
    arguments = f"--log-level {level}"
    with serving(
        sqlite_place, GUNICORN_CMD_ARGS=arguments, AUDITSPAN_LOG_LEVEL=level.upper()
    ) as port:
        answers = [exchange(port, request) for request in requests]
    assert quoting_files(sqlite_place.folder) == []
    assert b" 400 " in answers[-1]
    assert b"malformed request" in (sqlite_place.folder / "serve.log").read_bytes()


def test_up_logs_no_part_of_a_refused_request(tmp_path: Path) -> None:
    """Neither standard error nor the telemetry files quote a request that `up` refused."""
    with Up(tmp_path / "data", environ={"AUDITSPAN_SINK": "file"}) as running:
        port = running.client.base_url.port or 0
        requests = [*REFUSED.values(), BROKEN_CHUNK.format(key=running.key)]
        answers = [exchange(port, request) for request in requests]
    assert quoting_files(tmp_path) == []
    assert b" 400 " in answers[-1]
