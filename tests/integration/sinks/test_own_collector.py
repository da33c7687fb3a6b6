"""Bring your own collector: OpenTelemetry's variables for audit records, and a bearer token."""

from __future__ import annotations

import gzip
import json
import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from auditspan.cli.doctor import Examination, examine_collector, examine_sink
from auditspan.delivery import Sink
from auditspan.telemetry.otlp import read_logs
from auditspan.trail.settings.destinations import Destination
from auditspan.trail.settings.sinks import make_sinks
from auditspan_service.collector import Collector
from auditspan_service.config import load_settings
from integration.sinks.faulty import GOOD, faulty_collector
from integration.sinks.recording import recorder
from integration.trust.world import Trail, opened
from support.collector import run_collector
from support.relaying import relaying, wait_for

TOKEN = "hunter2-0123456789"
URL = "https://archive.example:4318/v1/logs"
VARIABLES = {
    "CERTIFICATE": "/otel/ca.crt",
    "CLIENT_CERTIFICATE": "/otel/client.crt",
    "CLIENT_KEY": "/otel/client.key",
    "HEADERS": "authorization=Bearer%20otel",
    "TIMEOUT": "3",
    "COMPRESSION": "gzip",
}
BY_VARIABLES = {
    "certificate": Path("/otel/ca.crt"),
    "client_certificate": Path("/otel/client.crt"),
    "client_key": Path("/otel/client.key"),
    "headers": {"authorization": "Bearer otel"},
    "timeout": 3.0,
    "compression": "gzip",
}
OWN = {
    "certificate": "/own/ca.crt",
    "client_certificate": "/own/client.crt",
    "client_key": "/own/client.key",
    "headers": {},
    "timeout": 9.0,
    "compression": "none",
}


def shown(destination: Destination) -> dict[str, Any]:
    """Return what the variables can set."""
    return {name: getattr(destination, name) for name in BY_VARIABLES}


@pytest.mark.parametrize("prefix", ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_LOGS_"])
def test_variables_apply_to_every_destination(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """Those for logs take precedence, and a destination's own settings over both."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(
            f"OTEL_EXPORTER_OTLP_{name}", "overridden" if "LOGS" in prefix else value
        )
        monkeypatch.setenv(f"{prefix}{name}", value)
    settings = load_settings(more_sinks={"archive": URL, "own": {"endpoint": URL, **OWN}})
    assert BY_VARIABLES == shown(settings.more_sinks["archive"])
    assert shown(Destination.model_validate({"endpoint": URL, **OWN})) == shown(
        settings.more_sinks["own"]
    )
    assert BY_VARIABLES == {name: getattr(settings, f"audit_{name}") for name in BY_VARIABLES}


def test_own_client_certificate_comes_without_the_key_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A certificate of one's own that includes its key is not paired with the variables' key."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    own = {"endpoint": URL, "client_certificate": "/own/both.pem"}
    settings = load_settings(more_sinks={"own": own}, audit_client_certificate="/own/both.pem")
    assert (None, None) == (settings.more_sinks["own"].client_key, settings.audit_client_key)


def test_request_has_the_headers_and_compression_of_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are what every destination really gets."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{TOKEN}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with recorder() as receiver:
        url = f"{receiver.url}/v1/logs"
        for sink in make_sinks(load_settings(audit_endpoint=url, more_sinks={"archive": url})):
            sink.send([])
            sink.close()
    assert [(f"Bearer {TOKEN}", b"")] * 2 == [
        (one.headers["authorization"], gzip.decompress(one.body)) for one in receiver.requests
    ]


@contextmanager
def guarded_collector(binary: Path, directory: Path) -> Iterator[Collector]:
    """The real collector, whose audit receiver requires a bearer token."""
    overlay = directory / "bearer.yaml"
    auth = {"auth": {"authenticator": "bearertokenauth"}}
    overlay.write_text(
        json.dumps(
            {
                "extensions": {"bearertokenauth": {"token": TOKEN}},
                "receivers": {"otlp/audit": {"protocols": {"http": auth}}},
                "service": {"extensions": ["health_check", "bearertokenauth"]},
            }
        )
    )
    wrapper = directory / "otelcol"
    wrapper.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --config ] && set -- "$@" --config {shlex.quote(str(overlay))}\n'
        f'exec {shlex.quote(str(binary))} "$@"\n'
    )
    wrapper.chmod(0o755)
    with run_collector(wrapper, directory) as collector:
        yield collector


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Twenty sealed rows."""
    with opened(f"sqlite:///{tmp_path / 'trail.db'}", tmp_path / "files") as made:
        made.write(20)
        made.seal()
        yield made


def sink_with(token: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Sink:
    """Return the sink of a worker with this token."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"Authorization=Bearer%20{token}")
    return make_sinks(load_settings(audit_endpoint=endpoint))[0]


def test_collector_with_a_token_takes_everything_or_nothing(
    collector_bin: Path,
    trail: Trail,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a wrong token nothing arrives and the log says why; with the right one all arrives."""
    with (
        caplog.at_level(logging.DEBUG, "auditspan"),
        guarded_collector(collector_bin, tmp_path) as collector,
    ):
        wrong = sink_with("wrong-token", collector.audit_endpoint, monkeypatch)
        with relaying(trail.engine, trail.tables, wrong):
            wait_for(lambda: len(caplog.messages) > 2)
        assert not [*read_logs(collector.audit_files)]
        right = sink_with(TOKEN, collector.audit_endpoint, monkeypatch)
        with relaying(trail.engine, trail.tables, right):
            wait_for(lambda: len([*read_logs(collector.audit_files)]) == 21)
    first = next(one.message for one in caplog.records if one.name.startswith("auditspan."))
    assert "answered HTTP 401" in first
    assert "check the headers" in first
    assert (False, False) == ("wrong-token" in caplog.text, TOKEN in caplog.text)


def notes(**settings: Any) -> tuple[list[str], list[str]]:
    """Return what the doctor notes, and the kinds of its findings."""
    examination, loaded = Examination(), load_settings(**settings)
    examine_sink(examination, loaded)
    examine_collector(examination, loaded)
    return examination.notes, [one.kind for one in examination.found]


def test_doctor_names_destinations_that_any_answer_acknowledges() -> None:
    """The mode http is a note for each destination, and no problem."""
    with faulty_collector(lambda _: GOOD) as collector:
        http = {"endpoint": collector.url, "acknowledgement": "http"}
        said, found = notes(audit_endpoint=collector.url, more_sinks={"siem": http})
    assert (1, []) == (len(said), found)
    assert said[0].startswith("AUDITSPAN_MORE_SINKS, siem: acknowledgement is http")


def test_doctor_warns_of_credentials_without_tls() -> None:
    """Headers for another host by http:// are a finding, without their values."""
    siem = {"endpoint": "http://collector.invalid:1/v1/logs", "headers": {"a": TOKEN}}
    examination, loaded = (
        Examination(is_embedded=True),
        load_settings(sink="file", more_sinks={"siem": siem}),
    )
    examine_sink(examination, loaded)
    assert ["headers", "collector"] == [one.kind for one in examination.found]
    assert TOKEN not in f"{examination.to_dict()}{loaded.more_sinks!r}"
