"""Tests with backends that are fetched and built for them; only `make test-backends` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.programs import jaeger_binary, program, zipkin_jar
from backends.running import Backend, Watched, free_ports, service_beside, service_with

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collected only when somebody names this directory or what is in it."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory, collector_bin: Path) -> Iterator[Watched]:
    """A service whose traces also go to a Jaeger that has just been started."""
    pages, otlp, *others = free_ports(10)
    others_named = [
        "collector.otlp.grpc.host-port",
        "collector.grpc-server.host-port",
        "collector.http-server.host-port",
        "collector.zipkin.host-port",
        "admin.http.host-port",
        "query.grpc-server.host-port",
    ]
    command = [
        *(str(jaeger_binary()), "--memory.max-traces=1000"),
        f"--query.http-server.host-port=127.0.0.1:{pages}",
        f"--collector.otlp.http.host-port=127.0.0.1:{otlp}",
        *(f"--{name}=127.0.0.1:{port}" for name, port in zip(others_named, others, strict=False)),
    ]
    backend = Backend(
        name="jaeger",
        command=command,
        url=f"http://127.0.0.1:{pages}",
        ready="/api/services",
        takes=f"http://127.0.0.1:{otlp}",
    )
    yield from service_with(backend, tmp_path_factory.mktemp("jaeger"), collector_bin)


@pytest.fixture(scope="session")
def zipkin(tmp_path_factory: pytest.TempPathFactory, collector_bin: Path) -> Iterator[Watched]:
    """A service whose traces also go to a Zipkin that has just been started."""
    [port] = free_ports(1)
    backend = Backend(
        name="zipkin",
        command=[program("java"), "-Xmx256m", "-jar", str(zipkin_jar())],
        environ={"QUERY_PORT": str(port)},
        url=f"http://127.0.0.1:{port}",
        ready="/health",
        takes=f"http://127.0.0.1:{port}/api/v2/spans",
    )
    yield from service_with(backend, tmp_path_factory.mktemp("zipkin"), collector_bin)


@pytest.fixture(scope="session")
def away(tmp_path_factory: pytest.TempPathFactory, collector_bin: Path) -> Iterator[Watched]:
    """A service whose traces should also go to a backend that is not there."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    backend = Backend(name="jaeger", command=[], url=url, ready="/", takes=url)
    yield from service_beside(backend, tmp_path_factory.mktemp("away"), collector_bin)
