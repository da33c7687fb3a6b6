"""AUDITSPAN_MORE_SINKS and the certificates of each: read, refused, made into sinks, examined."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditspan.cli.doctor import Examination, examine_collector, examine_sink
from auditspan.errors import SettingsError
from auditspan.trail.settings import Destination
from auditspan.trail.settings.sinks import make_sinks
from auditspan_service.config import load_settings
from integration.sinks.faulty import GOOD, FaultyCollector, faulty_collector

URL = "https://archive.example:4319/v1/audit"
FORMS: dict[str, dict[str, Destination]] = {
    "{}": {},
    json.dumps({"archive": URL}): {"archive": Destination(endpoint=URL)},
    json.dumps({"archive": {"endpoint": URL, "certificate": "/a/ca.crt"}, "siem-2": URL}): {
        "archive": Destination(endpoint=URL, certificate=Path("/a/ca.crt")),
        "siem-2": Destination(endpoint=URL),
    },
}
WRONG = [
    *("hunter2", "[]", '"hunter2"', "1", "{"),
    *('{"archive": "hunter2"}', '{"archive": 1}', '{"archive": {}}', '{"archive": null}'),
    *('{"otlp": "http://hunter2/"}', '{"file": "http://hunter2/"}', '{"": "http://hunter2/"}'),
    *('{"Archive": "http://hunter2/"}', '{"a b": "http://hunter2/"}'),
    '{"archive": {"endpoint": "http://hunter2/", "certifcate": "/a"}}',
    *('{"archive": "http://kim:hunter2@a/"}', '{"archive": "http://hunter2:99999/"}'),
    '{"archive": "http://a/", "archive": "http://hunter2/"}',
]


@pytest.fixture
def answering() -> Iterator[FaultyCollector]:
    """A collector that takes everything."""
    with faulty_collector(lambda _: GOOD) as collector:
        yield collector


@pytest.mark.parametrize("text", FORMS)
def test_destination_is_a_url_or_a_url_with_certificates(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A name has a URL, or a URL with certificates."""
    monkeypatch.setenv("AUDITSPAN_MORE_SINKS", text)
    assert FORMS[text] == load_settings().more_sinks


def test_it_may_be_a_secret_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As every other setting."""
    (tmp_path / "auditspan_more_sinks").write_text(json.dumps({"archive": URL}))
    monkeypatch.setenv("AUDITSPAN_SECRETS_DIR", str(tmp_path))
    assert {"archive": Destination(endpoint=URL)} == load_settings().more_sinks


@pytest.mark.parametrize("text", WRONG)
def test_invalid_setting_is_refused_without_its_value(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A sentence names the setting, and does not repeat what it was given."""
    monkeypatch.setenv("AUDITSPAN_MORE_SINKS", text)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert "AUDITSPAN_MORE_SINKS is invalid" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_each_is_a_sink_of_its_own_name() -> None:
    """The one that AUDITSPAN_SINK names comes first."""
    more = {"siem": URL, "archive": URL}
    names = [sink.name for sink in make_sinks(load_settings(sink="file", more_sinks=more))]
    assert ["file", "siem", "archive"] == names
    assert ["otlp"] == [sink.name for sink in make_sinks(load_settings())]


def test_empty_certificate_variable_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable names no file, and a relative path begins where the process started."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "")
    assert load_settings().audit_certificate is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.crt")
    assert Path("ca.crt").absolute() == load_settings().audit_certificate


def found(**settings: Any) -> list[tuple[str, str]]:
    """What the doctor says of sinks and collectors."""
    examination, loaded = Examination(), load_settings(**settings)
    examine_sink(examination, loaded)
    examine_collector(examination, loaded)
    return [(one.kind, one.detail) for one in examination.found]


def test_the_doctor_asks_every_destination(answering: FaultyCollector) -> None:
    """Each that does not answer is named, and those that answer are not."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        silent = f"http://127.0.0.1:{unused.getsockname()[1]}/v1/audit"
        more = {"archive": silent, "siem": answering.url}
        said = found(audit_endpoint=answering.url, more_sinks=more)
    [(kind, detail)] = said
    assert "collector" == kind
    assert detail.startswith(f"AUDITSPAN_MORE_SINKS, archive: the collector at {silent} cannot")


def test_the_doctor_looks_at_certificates(answering: FaultyCollector, tmp_path: Path) -> None:
    """A file that is not there, and certificates for a URL that does not use them."""
    there = tmp_path / "ca.crt"
    there.touch()
    said = found(
        audit_endpoint=answering.url,
        audit_certificate=there,
        audit_client_certificate=tmp_path / "no.crt",
    )
    missing, unused = (detail for kind, detail in said if kind == "tls")
    assert 2 == len(said)
    assert f"AUDITSPAN_AUDIT_ENDPOINT: the file {tmp_path / 'no.crt'} does not exist." == missing
    assert "records are sent unencrypted" in unused
