"""TLS with client certificates between whoever sends and the collector."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from auditspan.delivery.cursors import load_cursors
from auditspan.delivery.otlp_sink import OtlpSink, TlsFiles
from auditspan.errors import SinkError, SinkUnavailableError
from auditspan.telemetry.otlp.files import read_logs
from auditspan.trail.settings.sinks import make_sink
from auditspan_service.config import load_settings
from auditspan_service.telemetry.providers import TelemetryConfig, setup_telemetry
from integration.sinks.certificates import HOST, Authority
from integration.sinks.secured import Secured, secured_collector
from integration.trust.world import Trail, opened
from support.patience import PATIENCE
from support.relaying import relaying, wait_for

ROWS = 20


@pytest.fixture(scope="module")
def secured(collector_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One collector for all tests."""
    with secured_collector(collector_bin, tmp_path_factory.mktemp("secured")) as running:
        yield running


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody here trusts."""
    return Authority(directory=tmp_path_factory.mktemp("strangers") / "stranger")


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Twenty sealed rows that nobody has yet."""
    with opened(f"sqlite:///{tmp_path / 'trail.db'}", tmp_path / "collector") as made:
        made.write(ROWS)
        made.seal()
        yield made


def ours(secured: Secured, _: Authority) -> TlsFiles:
    return secured.authority.client()


def nothing(_: Secured, __: Authority) -> TlsFiles:
    return TlsFiles()


def no_certificate(secured: Secured, _: Authority) -> TlsFiles:
    return TlsFiles(certificate=secured.authority.certificate)


def a_strangers_certificate(secured: Secured, stranger: Authority) -> TlsFiles:
    certificate, key = stranger.issue("worker")
    return TlsFiles(
        certificate=secured.authority.certificate, client_certificate=certificate, client_key=key
    )


def a_certificate_of_a_server(secured: Secured, _: Authority) -> TlsFiles:
    certificate, key = secured.authority.issue("no-client", server=True)
    return TlsFiles(
        certificate=secured.authority.certificate, client_certificate=certificate, client_key=key
    )


def trust_in_a_stranger(secured: Secured, stranger: Authority) -> TlsFiles:
    files = secured.authority.client()
    return TlsFiles(**{**asdict(files), "certificate": stranger.certificate})


def files_that_are_not_there(secured: Secured, _: Authority) -> TlsFiles:
    folder = secured.authority.directory
    return TlsFiles(
        certificate=folder / "no.crt", client_certificate=folder / "no.crt", client_key=None
    )


def a_key_that_is_none(secured: Secured, _: Authority) -> TlsFiles:
    files = secured.authority.client("broken")
    assert files.client_key is not None
    files.client_key.write_text("nonsense")
    return files


Certificates = Callable[[Secured, Authority], TlsFiles]
WRONG: list[Certificates] = [
    nothing,
    no_certificate,
    a_strangers_certificate,
    a_certificate_of_a_server,
    trust_in_a_stranger,
    files_that_are_not_there,
    a_key_that_is_none,
]


def arrived(secured: Secured) -> list[object]:
    """The ids in the file of the collector, in order."""
    entries = read_logs(secured.collector.audit_files)
    return [entry.attributes.get("audit.record.id") for entry in entries]


def sent(trail: Trail) -> int:
    """How many rows count as delivered."""
    with trail.engine.connect() as connection:
        return load_cursors(connection, trail.tables, "otlp").sent + 1


def ids(trail: Trail) -> list[str]:
    """The event ids in the order of the sequence."""
    with trail.engine.connect() as connection:
        query = "SELECT event_id FROM audit_leaf ORDER BY seq"
        return [row.event_id for row in connection.exec_driver_sql(query)]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.__name__)
def test_invalid_certificates_deliver_nothing(
    secured: Secured, stranger: Authority, wrong: Certificates
) -> None:
    """The handshake fails, the sentence names the page that helps, and no record is read."""
    sink = OtlpSink(secured.audit_endpoint, tls=wrong(secured, stranger))
    with pytest.raises(SinkUnavailableError, match="cannot be reached") as refusal:
        sink.send([])
    assert "nonsense" not in str(refusal.value)


def test_plain_http_delivers_nothing(secured: Secured) -> None:
    """Plain HTTP is refused."""
    sink = OtlpSink(secured.collector.audit_endpoint)
    with pytest.raises(SinkError, match="HTTP request to an HTTPS server"):
        sink.send([])


def test_nothing_is_lost_when_certificates_come_later(
    secured: Secured, stranger: Authority, trail: Trail, tmp_path: Path
) -> None:
    """Rows wait while the files are missing, or are the wrong ones; then all come, in order."""
    files = TlsFiles(
        certificate=tmp_path / "ca.crt",
        client_certificate=tmp_path / "worker.crt",
        client_key=tmp_path / "worker.key",
    )
    before = len(arrived(secured))
    with relaying(trail.engine, trail.tables, OtlpSink(secured.audit_endpoint, tls=files)):
        time.sleep(0.5)
        assert 0 == sent(trail)
        put(a_strangers_certificate(secured, stranger), files)
        time.sleep(0.5)
        assert 0 == sent(trail)
        put(ours(secured, stranger), files)
        wait_for(lambda: sent(trail) == ROWS)
    records = [one for one in arrived(secured)[before:] if one is not None]
    assert ids(trail) == records


def put(files: TlsFiles, places: TlsFiles) -> None:
    """Put certificates where others are looked for."""
    for name, path in asdict(files).items():
        shutil.copy(path, asdict(places)[name])


@pytest.mark.parametrize("receiver", ["grpc", "http", "audit"])
def test_every_receiver_asks_for_a_certificate(secured: Secured, receiver: str) -> None:
    """None is open to somebody who has none, and none speaks less than TLS 1.3."""
    port = secured.ports[receiver]
    context = ssl.create_default_context(cafile=secured.authority.certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer Pythons do by themselves
    assert "CERTIFICATE_REQUIRED" in str(refusal(context, port))
    files = secured.authority.client()
    context.load_cert_chain(str(files.client_certificate), files.client_key)
    assert refusal(context, port, b"GET / HTTP/1.0\r\n\r\n") is None
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert refusal(context, port) is not None


def refusal(context: ssl.SSLContext, port: int, question: bytes = b"") -> ssl.SSLError | None:
    """What the other side says of our certificate; None when it hears the question."""
    try:
        with (
            socket.create_connection((HOST, port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as secure,
        ):
            secure.sendall(question)
            secure.recv(1)  # with TLS 1.3 the client hears of it only now
    except ssl.SSLError as error:
        return error
    return None


@pytest.mark.parametrize("signal", ["", "LOGS_"])
def test_opentelemetrys_variables_hold_for_audit_records_too(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, signal: str
) -> None:
    """Whoever has set them for everything, or for logs, has said all that is needed."""
    say(monkeypatch, secured.authority.client(), signal)
    sink = make_sink(load_settings(audit_endpoint=secured.audit_endpoint), "otlp")
    sink.send([])
    sink.close()


def test_a_setting_of_ours_counts_more(
    secured: Secured, stranger: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Audit records may go with other certificates than the rest."""
    say(monkeypatch, a_strangers_certificate(secured, stranger))
    files = secured.authority.client()
    monkeypatch.setenv("AUDITSPAN_AUDIT_CLIENT_CERTIFICATE", str(files.client_certificate))
    monkeypatch.setenv("AUDITSPAN_AUDIT_CLIENT_KEY", str(files.client_key))
    sink = make_sink(load_settings(audit_endpoint=secured.audit_endpoint), "otlp")
    sink.send([])
    sink.close()


def say(monkeypatch: pytest.MonkeyPatch, files: TlsFiles, signal: str = "") -> None:
    """Set the variables of OpenTelemetry."""
    for name, path in asdict(files).items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}{name.upper()}", str(path))


@pytest.mark.parametrize("certificates", [ours, no_certificate], ids=["with", "without"])
def test_traces_logs_and_metrics(
    secured: Secured,
    stranger: Authority,
    monkeypatch: pytest.MonkeyPatch,
    certificates: Certificates,
) -> None:
    """With a certificate all three signals arrive, and without one nothing does.

    Also where other variables name other authorities to other programs.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stranger.certificate))
    say(monkeypatch, certificates(secured, stranger))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60" if certificates is ours else "2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", secured.otlp_endpoint)
    name = f"secured {certificates.__name__}"
    telemetry = setup_telemetry(TelemetryConfig(install_global=False, service_name=name))
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span("here"):
        telemetry.meter_provider.get_meter("test").create_counter("test.count").add(1)
        telemetry.logger_provider.get_logger("test").emit(body="here")
    logging.disable(logging.CRITICAL)  # the exporters complain, as they should
    try:
        telemetry.shutdown(PATIENCE)
    finally:
        logging.disable(logging.NOTSET)
    expected = ["logs.jsonl", "metrics.jsonl", "traces.jsonl"] if certificates is ours else []
    files = sorted(secured.collector.telemetry_files.glob("*.jsonl"))
    assert expected == [file.name for file in files if name in file.read_text(encoding="utf-8")]
