"""The collector as a child process."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from secrets import token_hex
from typing import TYPE_CHECKING, Self

from auditspan.storage.files import make_private_directory
from auditspan_service.collector import lock
from auditspan_service.collector.binary import read_version
from auditspan_service.collector.errors import CollectorStartError
from auditspan_service.collector.ports import free_ports
from auditspan_service.collector.sources import config_file
from auditspan_service.collector.spawn import Child, spawn
from auditspan_service.collector.tail import size, tail

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOCK_SECONDS = 30.0
_LOCK_POLL_SECONDS = 0.1
_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 5.0
_ATTEMPTS = 5
_LINES_OF_A_FAILURE = 15
_PORT_IS_TAKEN = "address already in use"


class _PortTakenError(CollectorStartError):
    """Error for a port that another process has taken in the meantime."""


class Collector:
    """Running collector that writes to its own directory.

    It is started by `start`, and ends with `stop`, with the `with` block, or with the process that
    started it. Not thread-safe.
    """

    #: The output of `otelcol --version`.
    version: str
    #: The output of the collector; every start appends to it.
    log_file: Path

    def __init__(self, binary: Path, data_dir: Path, log_file: Path, host: str) -> None:
        self.version = read_version(binary)
        self.log_file = log_file.absolute()
        self._binary = binary.absolute()
        self._data_dir = data_dir.absolute()
        self._host = host
        self._ports = free_ports(host)
        # A different collector on one of these ports answers 404 to this path.
        self._health_path = f"/health/{token_hex(8)}"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls, binary: Path, data_dir: Path, log_file: Path, host: str = "127.0.0.1"
    ) -> Collector:
        """Run `binary` on free ports of `host`, and return once it is healthy.

        Missing directories are created. Raises CollectorStartError, with the last lines of its log,
        if it is not healthy within a minute, or if another collector writes to `data_dir`.
        """
        collector = cls(binary, data_dir, log_file, host)
        for _ in range(_ATTEMPTS - 1):
            with suppress(_PortTakenError):
                collector._run()
                return collector
            collector._ports = free_ports(host)
        collector._run()
        return collector

    def restart(self) -> None:
        """Start it again on the same ports, so that senders are not affected.

        A running collector is stopped first. Raises CollectorStartError as `start` does, or if one
        of the ports has been taken in the meantime.
        """
        self.stop()
        self._run()

    def stop(self) -> None:
        """Stop it gracefully, so that accepted data is written; kill it after ten seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it, as in a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, which `restart` changes."""
        if self._process is None:
            raise CollectorStartError("The collector has not been started.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """True while the process runs; a few milliseconds late if it ends by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def audit_endpoint(self) -> str:
        """The complete URL of the audit receiver."""
        return f"http://{self._host}:{self._ports.audit}/v1/audit"

    @property
    def otlp_endpoint(self) -> str:
        """The base URL for traces, logs and metrics over OTLP/HTTP, without `/v1/…`."""
        return f"http://{self._host}:{self._ports.http}"

    @property
    def audit_files(self) -> Path:
        """The directory of `audit.jsonl`, which the first record creates."""
        return self._data_dir / "audit"

    @property
    def telemetry_files(self) -> Path:
        """The directory of `traces.jsonl`, `logs.jsonl` and `metrics.jsonl`, created on demand."""
        return self._data_dir / "telemetry"

    def _run(self) -> None:
        make_private_directory(self._data_dir)
        make_private_directory(self.log_file.parent)
        written_before = size(self.log_file)
        descriptor = self._lock()
        try:
            self._process = spawn(self._child(descriptor))
            lock.write_holder(descriptor, self._process.pid)
        finally:
            os.close(descriptor)  # now only the collector holds the lock
        try:
            self._await_health(written_before)
        except BaseException:
            self.kill()
            raise

    def _child(self, descriptor: int) -> Child:
        return Child(
            command=[str(self._binary), "--config", str(config_file())],
            environ=self._environ(),
            log_file=self.log_file,
            descriptor=descriptor,
        )

    def _environ(self) -> dict[str, str]:
        """Return only the variables of the configuration: the service's own may be secret."""
        return {
            # The collector also expands `$` in the values of variables; `$$` escapes it.
            "OTELCOL_DATA": str(self._data_dir).replace("$", "$$"),
            "OTELCOL_HOST": self._host,
            "OTELCOL_GRPC_PORT": str(self._ports.grpc),
            "OTELCOL_HTTP_PORT": str(self._ports.http),
            "OTELCOL_AUDIT_PORT": str(self._ports.audit),
            "OTELCOL_HEALTH_PORT": str(self._ports.health),
            "OTELCOL_HEALTH_PATH": self._health_path,
        }

    def _lock(self) -> int:
        """Take the lock, and wait for the collector of a service that was just killed to end."""
        path = self._data_dir / ".lock"
        try:
            return lock.acquire(path, seconds=_LOCK_SECONDS, poll=_LOCK_POLL_SECONDS)
        except TimeoutError as error:
            raise CollectorStartError(
                f"Another collector (process {lock.read_holder(path)}) writes to {self._data_dir}: "
                "stop it, or use another data directory."
            ) from error

    def _await_health(self, written_before: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_healthy():
            if not self.running:
                raise self._failure("exited during startup", written_before)
            if time.monotonic() > deadline:
                raise self._failure(
                    f"was not healthy after {_START_SECONDS:.0f} seconds", written_before
                )
            time.sleep(_POLL_SECONDS)

    def _is_healthy(self) -> bool:
        connection = HTTPConnection(self._host, self._ports.health, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", self._health_path)
            return connection.getresponse().status == 200  # noqa: PLR2004  HTTP 200 OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _failure(self, what: str, written_before: int) -> CollectorStartError:
        last = tail(self.log_file, lines=_LINES_OF_A_FAILURE, since=written_before)
        kind = _PortTakenError if _PORT_IS_TAKEN in last else CollectorStartError
        return kind(f"The collector {self._binary} {what}. The end of {self.log_file}:\n{last}")
