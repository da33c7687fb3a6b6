"""The service answers before it is announced, also without propagators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from opentelemetry import propagate
from opentelemetry.propagators.composite import CompositePropagator

from auditspan_service.config import load_settings
from auditspan_service.errors import ServiceError
from auditspan_service.server.stack import Stack
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry
from support.service import running_service, settings_at


@pytest.fixture
def _no_propagators() -> Iterator[None]:
    """What OTEL_PROPAGATORS=none does when the SDK is imported."""
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([]))
    yield
    propagate.set_global_textmap(before)


@pytest.mark.usefixtures("_no_propagators")
def test_service_without_propagators_serves_writes(tmp_path: Path, sqlite_url: str) -> None:
    """With OTEL_PROPAGATORS=none a write is made and has its audit row."""
    with running_service(settings_at(tmp_path / "data", sqlite_url)) as service:
        service.caller().create(username="kim")
        assert "user.create" == service.bodies()[-1]["action"]


def test_service_that_cannot_answer_is_not_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting fails when the service answers its own first request with a server error."""
    monkeypatch.setattr("auditspan_service.server.stack.setup_telemetry", without_globals)

    def broken(app: Flask) -> None:
        @app.before_request
        def fail() -> None:
            raise RuntimeError

    settings = load_settings(data_dir=tmp_path / "data")
    with pytest.raises(ServiceError, match="HTTP 500"):
        Stack.start(settings, extend=broken)


def without_globals(config: TelemetryConfig) -> Telemetry:
    """Telemetry that leaves the process as it is."""
    return setup_telemetry(replace(config, install_global=False))
