"""A backend, a collector that sends to it, and the service that the collector listens to."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.patience import PATIENCE
from support.ports import free_port
from support.running import Up

ROOT = Path(__file__).parents[2]
START_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Backend:
    """How a backend is started, and where it takes and shows telemetry.

    `variable` is the name by which its overlay gets the address.
    """

    name: str
    command: list[str]
    url: str
    ready: str
    takes: str
    variable: str = "OTELCOL_BACKEND"
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A service and the backend in which its traces are seen, or its logs beside `traces`."""

    up: Up
    backend: Backend
    traces: Backend | None = None

    def find(self, path: str, is_whole: Callable[[Any], bool]) -> Any:
        """What the backend answers, as soon as it has the whole trace."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = httpx.get(f"{self.backend.url}{path}", trust_env=False, timeout=60)
            if answer.is_success and answer.json() and is_whole(answer.json()):
                return answer.json()
            assert time.monotonic() < deadline, f"{path}: {answer.status_code} {answer.text[:2000]}"
            time.sleep(0.5)


def service_with(backend: Backend, directory: Path, collector: Path) -> Iterator[Watched]:
    """Everything, until the tests are through."""
    with started(backend, directory):
        yield from service_beside(backend, directory, collector)


def service_beside(
    backend: Backend, directory: Path, collector: Path, *more: Backend
) -> Generator[Watched]:
    """Service and collector; the backends are there already, or are not."""
    wrapper = collector
    for number, one in enumerate((*more, backend)):
        wrapper = with_overlay(wrapper, one, directory / f"otelcol-{number}")
    with Up(directory / "service", environ={"OTELCOL_BIN": str(wrapper)}) as up:
        yield Watched(up=up, backend=backend)


@contextmanager
def started(backend: Backend, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The backend's process, answering."""
    log_file = directory / "backend.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            backend.command,
            env={**os.environ, **backend.environ},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"{backend.url}{backend.ready}", process, log_file)
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def with_overlay(collector: Path, backend: Backend, wrapper: Path) -> Path:
    """The collector with the overlay of the backend as its second configuration."""
    overlay = ROOT / "deploy/backends" / f"{backend.name}.yaml"
    wrapper.write_text(
        "#!/bin/sh\n"
        f"export {backend.variable}={shlex.quote(backend.takes)}\n"
        f'[ "$1" = --config ] && set -- "$@" --config {shlex.quote(str(overlay))}\n'
        f'exec {shlex.quote(str(collector))} "$@"\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    return wrapper


def wait_for(url: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
    """Until this answers 200; a process that ends instead shows its log."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(url, trust_env=False, timeout=60).is_success:
                return
        except httpx.HTTPError:
            pass
        is_there = process.poll() is None and time.monotonic() < deadline
        assert is_there, log_file.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.3)


def free_ports(count: int) -> list[int]:
    """So many different ports that are free now."""
    return [free_port() for _ in range(count)]
