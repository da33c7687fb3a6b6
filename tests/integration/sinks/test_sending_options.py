"""Headers, compression and proxies: audit records are sent as the other signals are."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from auditspan.delivery.otlp_sink import Compression, OtlpSink
from auditspan.delivery.outbound import proxy_for
from auditspan.delivery.sinks import Sink
from auditspan.errors import AuditConfigError, SettingsError, SinkUnavailableError
from auditspan.trail.settings.sinks import make_sinks
from auditspan_service.config import load_settings
from auditspan_service.telemetry.otlp_exporters import otlp_exporter
from integration.sinks.recording import recorder

HEADERS = "Authorization=Bearer%20abc%3D, X-Tenant=a%20b,malformed"
REMOTE = "http://collector.example:4318"


def only(sinks: tuple[Sink, ...]) -> Sink:
    """The one sink."""
    (sink,) = sinks
    return sink


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_LOGS_HEADERS"]
)
def test_audit_records_carry_the_headers_of_the_log_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The headers of OpenTelemetry's variables are sent with audit records."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-general=1")
    monkeypatch.setenv(variable, HEADERS)
    with recorder() as receiver:
        sink = only(make_sinks(load_settings(data_dir=tmp_path, audit_endpoint=receiver.url)))
        sink.send([])
        sink.close()
    sent = receiver.requests[0].headers
    assert ("Bearer abc=", "a b", None) == (
        sent.get("authorization"),
        sent.get("x-tenant"),
        sent.get("x-general"),
    )


def test_own_headers_replace_those_of_the_log_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUDITSPAN_AUDIT_HEADERS counts more than OpenTelemetry's variables."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", HEADERS)
    monkeypatch.setenv("AUDITSPAN_AUDIT_HEADERS", "X-Key=1")
    assert {"x-key": "1"} == load_settings(data_dir=tmp_path).audit_headers


def test_malformed_headers_are_refused_without_showing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An AUDITSPAN_AUDIT_HEADERS that is not a list of pairs is an error that hides its text."""
    monkeypatch.setenv("AUDITSPAN_AUDIT_HEADERS", "Bearer hunter2")
    with pytest.raises(SettingsError) as refusal:
        load_settings(data_dir=tmp_path)
    assert (True, False) == (
        "AUDITSPAN_AUDIT_HEADERS" in refusal.value.message,
        "hunter2" in refusal.value.message,
    )


def test_timeout_and_compression_follow_the_log_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTEL_EXPORTER_OTLP_TIMEOUT and _COMPRESSION are the defaults for audit records."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "7")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "gzip")
    settings = load_settings(data_dir=tmp_path)
    assert (7.0, "gzip") == (settings.audit_timeout, settings.audit_compression)


@pytest.mark.parametrize("timeout", ["soon", "0", "-1", "nan"])
def test_invalid_timeout_of_the_log_signal_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: str
) -> None:
    """A timeout that the SDK's exporter could not use is ten seconds."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", timeout)
    assert 10.0 == load_settings(data_dir=tmp_path).audit_timeout


UNPACK: dict[Compression, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


@pytest.mark.parametrize("compression", UNPACK)
def test_batches_are_compressed(compression: Compression) -> None:
    """The request names its encoding and unpacks to the batch."""
    with recorder() as receiver:
        OtlpSink(receiver.url, compression=compression).send([])
    request = receiver.requests[0]
    expected = None if compression == "none" else compression
    assert (expected, b"") == (
        request.headers.get("content-encoding"),
        UNPACK[compression](request.body),
    )


@pytest.mark.parametrize("header", [("x", "a\nb"), ("x y", "a"), ("x", "€"), ("", "a")], ids=ascii)
def test_header_that_cannot_be_sent_is_refused_at_once(header: tuple[str, str]) -> None:
    """A header that HTTP cannot carry is a configuration error, and no record's fault."""
    with pytest.raises(AuditConfigError, match="header"):
        OtlpSink("http://127.0.0.1:1", headers=dict([header]))


def test_headers_of_the_protocol_stay() -> None:
    """A given header does not replace the content type or the length."""
    headers = {"Content-Type": "text/plain", "content-length": "7"}
    with recorder() as receiver:
        OtlpSink(receiver.url, headers=headers).send([])
    sent = receiver.requests[0].headers
    assert ("application/x-protobuf", "0") == (sent["content-type"], sent["content-length"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.0.1", "[::1]", "a.localhost"])
def test_loopback_is_never_reached_by_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """No proxy is used for this machine's own addresses."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "")
    assert proxy_for(f"http://{host}:4319/v1/audit") is None


@pytest.mark.parametrize(
    "exempt",
    [
        "*",
        "collector.example",
        ".example",
        "*.example",
        "a.example collector.example",
        "10.0.0.0/8",
    ],
)
def test_no_proxy_names_hosts_and_networks(monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    """A host or network of NO_PROXY is reached directly."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", f"other.example, {exempt}")
    url = "http://10.1.2.3:4318" if "/" in exempt else REMOTE
    assert proxy_for(url) is None


def test_every_sender_uses_the_proxy_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audit records and telemetry for another host go by the same proxy."""
    with recorder() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        OtlpSink(f"{REMOTE}/v1/audit").send([])
        export_metrics(REMOTE)
    assert [f"{REMOTE}/v1/audit", f"{REMOTE}/v1/metrics"] == [
        request.target for request in proxy.requests
    ]


@pytest.mark.parametrize("host", ["127.0.0.1:99999", "proxy:port", "proxy:0", "[::1", ""])
def test_unusable_proxy_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """The error says what to set; those of the HTTP library repeat the URL."""
    monkeypatch.setenv("http_proxy", f"http://kim:s3cret@{host}")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(AuditConfigError, match="set HTTP_PROXY and HTTPS_PROXY") as caught:
        OtlpSink(REMOTE)
    assert ("s3cret" in str(caught.value), caught.value.__suppress_context__) == (False, True)


def test_password_of_a_proxy_may_have_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent in UTF-8."""
    with recorder() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//kim:p%E2%82%AC@"))
        monkeypatch.setenv("no_proxy", "")
        OtlpSink(REMOTE).send([])
    expected = base64.b64encode("kim:p€".encode()).decode()
    assert f"Basic {expected}" == proxy.requests[0].headers["proxy-authorization"]


def test_url_with_a_password_is_refused() -> None:
    """The password would not be sent, and every error would repeat it."""
    with pytest.raises(AuditConfigError, match="user or a password") as caught:
        OtlpSink("http://kim:s3cret@collector.example:4318")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("where", ["refused", "no server"])
def test_query_of_a_url_is_sent_and_never_shown(where: str) -> None:
    """A receiver's key may be in it: neither our message nor a quoted answer repeats the key."""
    with recorder(status=403, content=b"bad key planted/1, sent as planted%2F1") as receiver:
        url = receiver.url if where == "refused" else "http://127.0.0.1:1"
        sink = OtlpSink(f"{url}/v1/logs?key=planted%2F1&x=1")
        with pytest.raises(SinkUnavailableError) as caught:
            sink.send([])
        sink.close()
    expected = ["/v1/logs?key=planted%2F1&x=1"] if where == "refused" else []
    assert expected == [request.target for request in receiver.requests]
    assert f"{url}/v1/logs " in str(caught.value)
    assert "planted" not in f"{caught.value} {caught.value.__cause__!r}"


def test_no_sender_uses_the_proxy_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audit records and telemetry for the loopback arrive although a proxy is set."""
    with recorder() as receiver:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "")
        OtlpSink(f"{receiver.url}/v1/audit").send([])
        export_metrics(receiver.url)
    assert ["/v1/audit", "/v1/metrics"] == [request.target for request in receiver.requests]


def export_metrics(endpoint: str) -> None:
    """One empty export."""
    exporter = otlp_exporter("metrics", endpoint)
    exporter.export(MetricsData(resource_metrics=[]), timeout_millis=5000)
    exporter.shutdown()
