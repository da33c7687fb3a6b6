"""Kafka topics in the settings: read, refused, and made into sinks; no broker is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from auditspan.cli.doctor import Examination, examine_sink
from auditspan.delivery.kafka import KafkaAddress, KafkaClient, KafkaSink, read_properties
from auditspan.errors import AuditConfigError, LogBackendError, SettingsError
from auditspan.trail.settings import TrailSettings, load_settings, make_sink
from auditspan.verify.backends import TopicTally, read_kafka
from support.running import auditspan

URL = "kafka://one:9093,two,[::1]:9094/audit.events"
ADDRESSES = {
    "kafka://one/audit": ("one:9092", "audit", "protobuf"),
    f"{URL}?format=json": ("one:9093,two:9092,[::1]:9094", "audit.events", "json"),
    "kafka://one/audit?format=protobuf": ("one:9092", "audit", "protobuf"),
}
INVALID = [
    "kafka://one",
    "kafka://one/",
    "kafka://one/..",
    "kafka:///audit",
    "kafka://one,/audit",
    "kafka://one:0/audit",
    "kafka://one:70000/audit",
    "kafka://one/two/three",
    "kafka://one/audit#top",
    "kafka://one/au dit",
    "kafka://kim:pass-word@one/audit",
    "kafka://one/audit?format=xml",
    "kafka://one/audit?acks=0",
    "kafka:one/audit",
]


@pytest.mark.parametrize("url", ADDRESSES)
def test_url_names_brokers_topic_and_format(url: str) -> None:
    """The port is 9092 and the format protobuf where none is given."""
    address = KafkaAddress.parse(url)
    assert ADDRESSES[url] == (address.servers, address.topic, address.format)


@pytest.mark.parametrize("url", INVALID)
def test_invalid_url_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each setting that names a destination; the error does not repeat it."""
    for name, value in {
        "AUDITSPAN_AUDIT_ENDPOINT": url,
        "AUDITSPAN_MORE_SINKS": f'{{"kafka": "{url}"}}',
    }.items():
        with monkeypatch.context() as context, pytest.raises(SettingsError) as refusal:
            context.setenv(name, value)
            load_settings(TrailSettings)
        assert str(refusal.value).startswith(f"{name} is invalid")
        assert "pass-word" not in str(refusal.value)


def test_settings_make_the_sinks_of_topics(tmp_path: Path) -> None:
    """The audit endpoint and a further destination may both be topics, with properties or not."""
    common, own = tmp_path / "common.properties", tmp_path / "own.properties"
    common.write_text("client.id = common\n", encoding="utf-8")
    own.write_text("client.id = own\n", encoding="utf-8")
    settings = load_settings(
        TrailSettings,
        audit_endpoint=URL,
        kafka_properties=common,
        more_sinks={
            "lake": {"endpoint": URL, "properties": str(own), "timeout": 3},
            "logs": URL,
            "siem": "https://siem.example/v1/logs",
        },
    )
    sinks = {name: make_sink(settings, name) for name in ("otlp", "lake", "logs", "siem")}
    kinds = [isinstance(one, KafkaSink) for one in sinks.values()]
    assert [True, True, True, False] == kinds
    assert ["otlp", "lake", "logs", "siem"] == [one.name for one in sinks.values()]


@pytest.mark.parametrize(
    "more",
    [
        {"endpoint": URL, "headers": {"authorization": "Bearer pass-word"}},
        {"endpoint": URL, "acknowledgement": "http"},
        {"endpoint": URL, "compression": "gzip"},
        {"endpoint": "https://one/v1/audit", "properties": "/etc/kafka.properties"},
    ],
)
def test_options_that_would_be_ignored_are_refused(more: dict[str, object]) -> None:
    """Those of a receiver for a topic, and that of a topic for a receiver."""
    with pytest.raises(SettingsError, match="AUDITSPAN_MORE_SINKS is invalid") as refusal:
        load_settings(TrailSettings, more_sinks={"kafka": more})
    assert "pass-word" not in str(refusal.value)


def test_properties_are_read_with_their_comments(tmp_path: Path) -> None:
    """Blank lines and comments are skipped; a value may contain an equals sign."""
    file = tmp_path / "kafka.properties"
    file.write_text("# a comment\n\n! another\nsasl.password = a=b c \nssl.ca.location=/ca\n")
    assert {"sasl.password": "a=b c", "ssl.ca.location": "/ca"} == read_properties(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acks=1\n", "must not set acks"),
        ("enable.idempotence=false\nbootstrap.servers=other\n", "must not set bootstrap.servers, "),
        ("client.id=x\npass-word\n", "line 2: expected `name=value`"),
    ],
)
def test_invalid_properties_are_refused(tmp_path: Path, text: str, said: str) -> None:
    """Properties that the guarantees depend on, and lines that are none; no line is repeated."""
    file = tmp_path / "kafka.properties"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AuditConfigError) as refusal:
        read_properties(file)
    assert said in refusal.value.message
    assert "pass-word" not in refusal.value.message


def test_missing_properties_are_reported_by_doctor(tmp_path: Path) -> None:
    """As the destination's finding, not as an end of the command."""
    settings = load_settings(
        TrailSettings,
        sink="file",
        kafka_properties=tmp_path / "none",
        more_sinks={"kafka": "kafka://127.0.0.1:1/audit"},
    )
    examination = Examination(is_embedded=True)
    examine_sink(examination, settings)
    [found] = examination.found
    assert found.detail.startswith("AUDITSPAN_MORE_SINKS, kafka: the Kafka properties")
    assert "cannot be read: No such file or directory" in found.detail


def test_open_properties_and_absent_brokers_are_reported_by_doctor(tmp_path: Path) -> None:
    """A file that may hold a password is for its owner only; the broker's refusal is named."""
    file = tmp_path / "kafka.properties"
    file.write_text("client.id=x\n", encoding="utf-8")
    file.chmod(0o644)
    more = {"kafka": {"endpoint": "kafka://127.0.0.1:1/audit", "properties": str(file)}}
    examination = Examination(is_embedded=True)
    examine_sink(examination, load_settings(TrailSettings, sink="file", more_sinks=more))
    away, is_open = (one.detail for one in examination.found)
    assert "Kafka at 127.0.0.1:1 cannot be reached" in away
    assert f"run `chmod 600 {file}`" in is_open


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with such a destination does not start without the client library."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    settings = load_settings(TrailSettings, audit_endpoint=URL)
    with pytest.raises(AuditConfigError, match=r"pip install 'auditspan\[kafka\]'"):
        make_sink(settings, "otlp")


def test_reconcile_without_a_topic_is_an_error_of_usage(tmp_path: Path) -> None:
    """`--kafka` needs a URL where the settings have none, and that of a topic."""
    settings = {"AUDITSPAN_DATA_DIR": str(tmp_path), "AUDITSPAN_SINK": "file"}
    done = auditspan("reconcile", "--kafka", **settings)
    assert (2, True) == (done.returncode, "--kafka: no kafka:// destination is set" in done.stderr)
    done = auditspan("reconcile", "--kafka", "http://one/audit", **settings)
    assert (2, True) == (done.returncode, "Invalid URL of a Kafka topic" in done.stderr)


def test_unreachable_brokers_are_named_by_reconcile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compared, and no password is repeated."""
    monkeypatch.setattr("auditspan.verify.backends.kafka._SECONDS", 2.0)
    address = KafkaAddress.parse("kafka://127.0.0.1:1/audit")
    client = KafkaClient(address=address, properties={"sasl.password": "pass-word"})
    with pytest.raises(LogBackendError, match=r"refused.*nothing was compared") as failure:
        list(read_kafka(client, TopicTally()))
    assert "pass-word" not in str(failure.value)
