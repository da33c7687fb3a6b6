"""A broker with TLS and SCRAM passwords, reached as the page send-to-kafka.md says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from documents.page import HOW_TO, blocks
from integration.sinks.certificates import Authority
from kafka.brokers import PASSWORD, USER, Kafka
from support.relaying import wait_for
from support.running import Up, auditspan

WRONG = "wrong-pass-word"


def page_properties(certificate: Path, password: str) -> str:
    """The properties file of the page, with this authority and this password."""
    [text] = [
        block.text
        for block in blocks(HOW_TO / "send-to-kafka.md")
        if block.first == "# kafka.properties"
    ]
    assert f"sasl.username={USER}" in text.splitlines()
    text = text.replace("/etc/auditspan/kafka-ca.crt", str(certificate))
    return text.replace("SECRET", password)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that delivers to the secure listener."""

    directory: Path
    url: str
    properties: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its commands."""
        return {
            "AUDITSPAN_SINK": "file",
            "AUDITSPAN_DATA_DIR": str(self.directory / "service"),
            "AUDITSPAN_MORE_SINKS": json.dumps({"kafka": self.url}),
            "AUDITSPAN_KAFKA_PROPERTIES": str(self.properties),
        }

    def start(self, properties: str, key: str | None = None) -> Up:
        """Start it with these properties; later starts need the key of the first."""
        self.properties.write_text(properties, encoding="utf-8")
        self.properties.chmod(0o600)
        return Up(self.directory / "service", environ=self.environ, key=key)

    def log(self) -> str:
        """Everything that it has logged."""
        return (self.directory / "service.err").read_text(encoding="utf-8")


@pytest.fixture
def service(broker: Kafka, tmp_path: Path) -> Iterator[Service]:
    """A service that is not started, and a topic of its own."""
    topic = broker.make_topic("secure")
    yield Service(
        directory=tmp_path,
        url=f"kafka://{broker.brokers[0].secure}/{topic}",
        properties=tmp_path / "kafka.properties",
    )
    broker.admin.delete_topics([topic])[topic].result()


def last_error(up: Up) -> str:
    """The last error of the topic that /readyz reports, if there is one."""
    return str(up.client.get("/readyz").json()["undelivered"]["kafka"]["last_error"] or "")


def waiting(up: Up) -> int:
    """The number of records that wait for the topic."""
    return int(up.client.get("/readyz").json()["undelivered"]["kafka"]["rows"])


def reports(service: Service, up: Up) -> list[str]:
    """What the probe, the log of the worker and doctor say about the topic."""
    wait_for(lambda: last_error(up) != "")
    examined = auditspan("doctor", **service.environ)
    assert 1 == examined.returncode
    return [last_error(up), service.log(), examined.stdout]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A mistake in the properties, and the parts of the message about it."""

    trusts_broker: bool = True
    password: str = PASSWORD
    protocol: str = "SASL_SSL"
    reported: tuple[str, ...]


MISTAKES = {
    "password": Mistake(password=WRONG, reported=("Authentication failed", "check sasl.mecha")),
    "certificate": Mistake(
        trusts_broker=False, reported=("certificate verify failed", "ssl.ca.location")
    ),
    "protocol": Mistake(protocol="PLAINTEXT", reported=("cannot be reached", "set it to SSL or")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_refused_connection_is_explained_without_the_password(
    broker: Kafka, service: Service, tmp_path: Path, name: str
) -> None:
    """Probe, log and doctor name the reason and the property; once corrected, records arrive."""
    mistake, trusted = MISTAKES[name], broker.authority.certificate
    other = Authority(directory=tmp_path / "other").certificate
    text = page_properties(trusted if mistake.trusts_broker else other, mistake.password)
    with service.start(text.replace("SASL_SSL", mistake.protocol)) as up:
        for place in reports(service, up):
            assert [] == [part for part in mistake.reported if part not in place]
            assert "pass-word" not in place
    with service.start(page_properties(trusted, PASSWORD), up.key) as up:
        wait_for(lambda: waiting(up) == 0)
        done = auditspan("reconcile", "--kafka", "--json", **service.environ)
        examined = auditspan("doctor", "--json", **service.environ)
    report = json.loads(done.stdout)
    assert (0, True) == (done.returncode, report["ok"])
    assert report["found"] == report["rows"] > 0
    [found] = [one for one in json.loads(examined.stdout)["findings"] if one["kind"] == "kafka"]
    assert "has one replica" in found["detail"]
