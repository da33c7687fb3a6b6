"""Apache Kafka on this machine: brokers that are controllers too (KRaft), each a process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from backends.running import free_ports
from integration.sinks.certificates import HOST, Authority
from kafka.jars import kafka_jars, program
from support.patience import PATIENCE
from support.relaying import wait_for

USER, PASSWORD = "auditspan", "pass-word-of-kafka"
LISTENERS = ("PLAINTEXT", "LOGIN", "SECURE", "CONTROLLER")
_CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
_JAVA = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_LOGGED = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
_PROPERTIES = f"""
process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=\
PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT,SECURE:SASL_SSL
listener.name.login.sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
auto.create.topics.enable=true
controlled.shutdown.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
replica.lag.time.max.ms=3000
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=1000
num.network.threads=2
num.io.threads=2
"""


def _java() -> list[str]:
    return [program("java"), *_JAVA, _LOGGED, "-cp", f"{kafka_jars()}/*"]


class Broker:
    """One process of a cluster; its data survive it."""

    def __init__(
        self,
        directory: Path,
        number: int,
        ports: Mapping[int, Mapping[str, int]],
        authority: Authority,
    ) -> None:
        self.number = number
        listeners = {name: f"{HOST}:{port}" for name, port in ports[number].items()}
        self.address, self.login, self.secure = (listeners[one] for one in LISTENERS[:3])
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        voters = ",".join(f"{one}@{HOST}:{its['CONTROLLER']}" for one, its in ports.items())
        directory.mkdir()
        self._file = directory / "server.properties"
        self._file.write_text(
            f"{_PROPERTIES}node.id={number}\ncontroller.quorum.voters={voters}\n"
            f"listeners={','.join(f'{name}://{at}' for name, at in listeners.items())}\n"
            f"ssl.keystore.location={self._keystore(authority)}\n"
            f"log.dirs={directory / 'data'}\n"
            f"offsets.topic.replication.factor={len(ports)}\n"
        )

    def format(self) -> subprocess.Popen[bytes]:
        """Start to prepare its storage, with the user of the secure listener."""
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        format_ = ("format", "-t", _CLUSTER_ID, "--add-scram", scram, "-c")
        return self._run("kafka.tools.StorageTool", *format_)

    def start(self) -> None:
        """Start it; it answers some seconds later."""
        self._process = self._run("kafka.Kafka")

    def kill(self) -> None:
        """End it at once (kill -9)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def _keystore(self, authority: Authority) -> Path:
        """Write its private key and its certificate into one file."""
        certificate, key = authority.issue(f"broker-{self.number}", server=True)
        keystore = self._directory / "keystore.pem"
        keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
        return keystore

    def _run(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._directory / "broker.log").open("ab") as log:
            return subprocess.Popen(
                [*_java(), name, *arguments, str(self._file)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
            )


class Kafka:
    """A cluster that answers."""

    def __init__(self, brokers: list[Broker], authority: Authority) -> None:
        self.brokers = brokers
        self.authority = authority
        self.servers = ",".join(one.address for one in brokers)
        self.admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def url(self, topic: str, query: str = "") -> str:
        """The URL of a topic."""
        return f"kafka://{self.servers}/{topic}{query}"

    def make_topic(self, name: str, partitions: int = 3, **config: str) -> str:
        """Make a topic with a replica on every broker, all of which know it; its name."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, partitions, len(self.brokers), config=settings)
        self.admin.create_topics([topic])[name].result(PATIENCE)
        wait_for(lambda: all(name in _topics(one.address) for one in self.brokers))
        return name

    def messages(self, topic: str) -> list[Message]:
        """Every message that is in a topic now, by partition and in order."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "tests"})
        try:
            numbers = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
            partitions = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]
            bounds = [consumer.get_watermark_offsets(one, PATIENCE) for one in partitions]
            consumer.assign(partitions)
            count = sum(high - low for low, high in bounds)
            found = consumer.consume(count, PATIENCE) if count else []
        finally:
            consumer.close()
        assert [None] * count == [one.error() for one in found]
        return sorted(found, key=lambda one: (one.partition(), one.offset()))

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Let the broker remove the first messages of a partition."""
        [done] = self.admin.delete_records([TopicPartition(topic, partition, before)]).values()
        done.result(PATIENCE)

    def await_brokers(self) -> None:
        """Until every broker is there."""
        wait_for(self._is_whole)

    def _is_whole(self) -> bool:
        try:
            return len(self.admin.list_topics(timeout=1).brokers) == len(self.brokers)
        except KafkaException:
            return False


def _topics(address: str) -> dict[str, Any]:
    """The topics that a broker knows."""
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    return dict(admin.list_topics(timeout=PATIENCE).topics)


@contextmanager
def kafka(directory: Path, count: int) -> Iterator[Kafka]:
    """A cluster of so many brokers, until the tests are through."""
    numbers, ports = range(1, count + 1), iter(free_ports(len(LISTENERS) * count))
    chosen = {one: {name: next(ports) for name in LISTENERS} for one in numbers}
    directory.mkdir()
    authority = Authority(directory=directory / "authority")
    brokers = [Broker(directory / f"broker-{one}", one, chosen, authority) for one in numbers]
    try:
        for process in [one.format() for one in brokers]:
            assert 0 == process.wait(PATIENCE)
        for one in brokers:
            one.start()
        cluster = Kafka(brokers, authority)
        cluster.await_brokers()
        yield cluster
    finally:
        for one in brokers:
            one.kill()
