"""The pages send-to-kafka.md and query-with-clickhouse.md, done as they say."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chdb.session import Session

from auditspan.delivery.kafka import read_properties
from documents.page import HOW_TO, Block, blocks
from kafka.brokers import Kafka
from support.relaying import wait_for
from support.running import Up, auditspan

KAFKA = blocks(HOW_TO / "send-to-kafka.md")
CLICKHOUSE = blocks(HOW_TO / "query-with-clickhouse.md")
QUEUE = re.compile(r"ENGINE = Kafka\n.*", re.DOTALL)


def block(start: str) -> Block:
    """The block of the page that begins so."""
    [found] = [one for one in KAFKA if one.first.startswith(start)]
    return found


@contextmanager
def service(directory: Path, value: str) -> Iterator[tuple[Up, dict[str, str]]]:
    """A service with the destination of the page, and the environment of its commands."""
    environ = {"AUDITSPAN_SINK": "file", "AUDITSPAN_MORE_SINKS": value}
    with Up(directory / "service", environ=environ) as up:
        yield up, {**environ, "AUDITSPAN_DATA_DIR": str(directory / "service")}


def test_service_delivers_to_the_topic_of_the_page(broker: Kafka, tmp_path: Path) -> None:
    """With the page's settings records arrive; `reconcile --kafka` prints what the page shows."""
    broker.make_topic("audit")
    setting = block('AUDITSPAN_MORE_SINKS=\'{"kafka"').text.strip()
    value = (
        setting.partition("=")[2].strip("'").replace("broker1:9092,broker2:9092", broker.servers)
    )
    with service(tmp_path, value) as (up, environ):
        for number in range(10):
            assert 201 == up.client.post("/v1/users", json={"username": f"u{number}"}).status_code
        wait_for(lambda: up.client.get("/readyz").json()["undelivered"]["kafka"]["rows"] == 0)
        assert "all" == up.client.get("/readyz").json()["undelivered"]["kafka"]["acknowledgement"]
        done = auditspan("reconcile", "--kafka", **environ)
        examined = auditspan("doctor", **environ)
    [command] = block("$ auditspan reconcile").commands()
    assert shape(command.output) == shape(done.stdout), done.stderr
    assert 0 == done.returncode
    assert "The topic audit has one replica" in examined.stdout
    broker.delete_records("audit", 0, -1)
    broker.delete_records("audit", 1, -1)
    done = auditspan("reconcile", "--kafka", broker.url("audit"), "--json", **environ)
    report = json.loads(done.stdout)
    assert (1, False) == (done.returncode, report["ok"])
    assert {"0", "1"} >= set(report["topic"]["removed"])
    assert report["missing"]
    assert report["topic"]["removed"]
    again = json.loads(auditspan("reconcile", "--kafka", "--resend", "--json", **environ).stdout)
    assert report["missing"] == again["resent"]["sent"]
    assert 0 == auditspan("reconcile", "--kafka", **environ).returncode


def shape(text: str) -> str:
    """An output with other numbers."""
    return re.sub(r"\d+", "N", text)


def test_properties_of_the_page_are_accepted(tmp_path: Path) -> None:
    """The file of the page has the properties that the page explains."""
    file = tmp_path / "kafka.properties"
    file.write_text(block("# kafka.properties").text, encoding="utf-8")
    assert ("SASL_SSL", "SECRET") == tuple(
        read_properties(file)[name] for name in ("security.protocol", "sasl.password")
    )


@pytest.fixture(scope="module")
def lines(broker: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """The messages of a topic, one a line, and the events that the service has."""
    directory = tmp_path_factory.mktemp("lines")
    topic = broker.make_topic("lines")
    value = json.dumps({"kafka": broker.url(topic, "?format=json")})
    with service(directory, value) as (up, environ):
        made = [up.client.post("/v1/users", json={"username": f"u{n}"}) for n in range(5)]
        path, tag = f"/v1/users/{made[0].json()['id']}", made[0].headers["ETag"]
        up.client.patch(path, json={"active": False}, headers={"If-Match": tag})
        wait_for(lambda: up.client.get("/readyz").json()["undelivered"]["kafka"]["rows"] == 0)
        events = up.client.get("/v1/audit-events").json()["items"]
    file = directory / "audit.jsonl"
    values = [one.value() or b"" for one in broker.messages(topic)]
    # The first message a second time: a copy, as after an outage.
    file.write_bytes(b"".join(b"%b\n" % one for one in [*values, values[0]]))
    yield file, events
    for command in (("verify", "--witness"), ("reconcile", "--files")):
        assert 0 == auditspan(*command, file, **environ).returncode


def test_statements_of_the_page_find_every_event(lines: tuple[Path, Any], tmp_path: Path) -> None:
    """In ClickHouse, as a library: each event once, with its exact body, also in a Parquet file."""
    file, events = lines
    session, month = Session(), events[0]["occurred_at"][:7].replace("-", "")
    parquet = f"file('{tmp_path}/events.parquet', 'Parquet')"
    results = []
    for one in CLICKHOUSE:
        text = QUEUE.sub("ENGINE = Memory", one.text)
        text = re.sub(r"s3\(.*?\)", parquet, text).replace("202611", month)
        results.append(str(session.query(text, "JSONEachRow")))
        if "MATERIALIZED VIEW" in text:
            lines_of = f"SELECT line FROM file('{file}', LineAsString)"  # noqa: S608 (our own path)
            session.query(f"INSERT INTO audit_queue {lines_of}")
    counted, changed, hashed, _ = ([*map(json.loads, one.splitlines())] for one in results[3:])
    assert len(events) == sum(int(row["events"]) for row in counted)
    assert [("true", "false")] == [(row["old"], row["new"]) for row in changed]
    sealed = {one["event_id"]: one for one in events}
    assert set(sealed) == {row["event_id"] for row in hashed}
    assert {digest(line) for line in file.read_text().splitlines()} - {""} == {
        row["body_sha256"] for row in hashed
    }
    stored = session.query(f"SELECT count() FROM {parquet}", "CSV")  # noqa: S608 (as above)
    assert len(events) == int(str(stored))


def digest(line: str) -> str:
    """The SHA-256 of the body in a line; nothing for a checkpoint."""
    record = json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    if record["eventName"] == "audit.checkpoint":
        return ""
    return hashlib.sha256(record["body"]["stringValue"].encode()).hexdigest()
