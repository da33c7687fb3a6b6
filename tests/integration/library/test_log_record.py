"""The log record of a row, compared whole as the OTLP JSON that stands in the collector's file."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.semconv.attributes import service_attributes
from sqlalchemy import Engine

from auditspan import Request, Service, audit_context
from auditspan.delivery.log_record import unix_nanos
from auditspan.delivery.relay import Relay
from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.seal.sealer import Sealer
from integration.library.models import Team
from integration.library.world import KEY, KIM, make_world

NOW = datetime(2026, 1, 1, 12, 0, 0, 7, tzinfo=UTC)
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
REQUEST = Request(
    id="r-1",
    client_address="198.51.100.7",
    user_agent="curl/8",
    method="PATCH",
    route="/v1/teams/<id>",
)
#: The row of the change, as design §4.5 has it: canonical, so this is the very text.
BODY = (
    '{"action":"team.update","actor":{"id":"7","label":"kim","type":"user"},'
    '"change_id":2,"changes":{"name":{"new":"€ \\"b\\"","old":"a"}},'
    '"event_id":"017f22e2-79b0-7cc3-98c4-000000000004","metadata":{},'
    '"occurred_at":"2026-01-01T12:00:00.000007Z","on_behalf_of":null,"outcome":"success",'
    '"reason":null,"request":{"client_address":"198.51.100.7","id":"r-1","method":"PATCH",'
    '"route":"/v1/teams/<id>","user_agent":"curl/8"},'
    '"service":{"instance":"a","name":"shop","version":"1.2"},'
    f'"span_id":"{SPAN_ID}","target":{{"id":"1","type":"team","version":null}},"tenant":null,'
    f'"trace_id":"{TRACE_ID}","tx_id":"017f22e2-79b0-7cc3-98c4-000000000003","v":1}}'
)


class FixedIds(IdGenerator):
    """The same trace and span id always."""

    def generate_span_id(self) -> int:
        return int(SPAN_ID, 16)

    def generate_trace_id(self) -> int:
        return int(TRACE_ID, 16)


def fixed_world(engine: Engine) -> Any:
    """An application whose clock stands and whose ids count."""
    numbers = count(1)
    return make_world(
        engine,
        clock=lambda: NOW,
        new_id=lambda: f"017f22e2-79b0-7cc3-98c4-{next(numbers):012x}",
        service=Service(name="shop", version="1.2", instance="a"),
    )


def delivered(engine: Engine, tables: Any, directory: Path) -> list[dict[str, Any]]:
    """Seal and deliver what is there; the documents of the file."""
    Sealer(engine, tables).seal()
    with engine.connect() as connection, closing(FileSink(directory)) as sink:
        Relay(engine, tables, sink).deliver(connection)
    lines = (directory / AUDIT_FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def attributes(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """OTLP attributes by their key."""
    assert len(found) == len({one["key"] for one in found})
    return {one["key"]: one["value"] for one in found}


def text(value: str) -> dict[str, str]:
    """An OTLP string."""
    return {"stringValue": value}


@pytest.fixture
def documents(engine: Engine, tmp_path: Path) -> tuple[list[dict[str, Any]], Any]:
    """The file after a create and a change, and the rows that it tells of."""
    world = fixed_world(engine)
    tracer = TracerProvider(id_generator=FixedIds()).get_tracer("tests")
    with audit_context(actor=KIM), world.sessions.begin() as session:
        session.add(Team(name="a"))
    with (
        audit_context(actor=KIM, request=REQUEST),
        tracer.start_as_current_span("request"),
        world.sessions.begin() as session,
    ):
        session.get_one(Team, 1).name = '€ "b"'
    return delivered(engine, world.trail.tables, tmp_path / "files"), world.rows()


def records(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All log records of the file."""
    return [
        record
        for document in documents
        for resource in document["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


def test_the_record_of_a_change_is_exactly_that_of_the_format(
    documents: tuple[list[dict[str, Any]], Any],
) -> None:
    """Every member and attribute of design §4.6, of its type, and no other."""
    found, rows = documents
    record = records(found)[1]
    record["attributes"] = attributes(record["attributes"])
    recorded_at = rows[1].recorded_at
    event_id = "017f22e2-79b0-7cc3-98c4-000000000004"
    assert {
        "timeUnixNano": "1767268800000007000",
        "observedTimeUnixNano": str(unix_nanos(recorded_at)),
        "severityNumber": 9,
        "severityText": "INFO",
        "eventName": "audit.team.update",
        "body": {"stringValue": BODY},
        "attributes": {
            "log.record.uid": text(event_id),
            "audit.record.id": text(event_id),
            "audit.actor.id": text("7"),
            "audit.actor.type": text("user"),
            "audit.action": text("team.update"),
            "audit.verb": text("UPDATE"),
            "audit.outcome": text("success"),
            "audit.target.id": text("1"),
            "audit.target.type": text("team"),
            "audit.row.id": {"intValue": "2"},
            "audit.sequence.number": {"intValue": "1"},
            "audit.schema.version": text("1"),
            "client.address": text("198.51.100.7"),
            "user_agent.original": text("curl/8"),
            "http.request.method": text("PATCH"),
            "http.route": text("/v1/teams/<id>"),
            "audit.integrity.value": text(KEY.sign(BODY)),
        },
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
    } == {name: value for name, value in record.items() if name not in OPTIONAL}


#: Members that OTLP JSON may leave out or write with their default.
OPTIONAL = {"droppedAttributesCount", "flags"}


def test_the_body_is_the_row_byte_for_byte(
    documents: tuple[list[dict[str, Any]], Any],
) -> None:
    """The sealed body is the one that is sent."""
    found, rows = documents
    assert BODY == rows[1].body
    assert [row.body for row in rows] == [one["body"]["stringValue"] for one in records(found)]


def test_the_resource_is_the_program_that_wrote_the_row(
    documents: tuple[list[dict[str, Any]], Any],
) -> None:
    """Not the relay that sends it."""
    for document in documents[0]:
        for one in document["resourceLogs"]:
            assert {
                service_attributes.SERVICE_NAME: text("shop"),
                service_attributes.SERVICE_VERSION: text("1.2"),
                "service.instance.id": text("a"),
            } == attributes(one["resource"]["attributes"])
            assert ["auditspan"] == [scope["scope"]["name"] for scope in one["scopeLogs"]]


def test_a_record_outside_of_a_trace_has_no_ids(
    documents: tuple[list[dict[str, Any]], Any],
) -> None:
    """Not those of whatever span the relay happens to be in; what is not known is absent."""
    record = records(documents[0])[0]
    assert {""} == {record.get(name, "") for name in ("traceId", "spanId")}
    absent = {"client.address", "user_agent.original", "http.request.method", "http.route"}
    assert set() == absent & set(attributes(record["attributes"]))


def test_the_relay_lends_no_span_to_a_record(engine: Engine, tmp_path: Path) -> None:
    """A record is built from the row alone, also inside a span of the relay's own."""
    world = fixed_world(engine)
    with audit_context(actor=KIM), world.sessions.begin() as session:
        session.add(Team(name="a"))
    with TracerProvider().get_tracer("relay").start_as_current_span("send"):
        (record,) = records(delivered(engine, world.trail.tables, tmp_path))
    assert {""} == {record.get(name, "") for name in ("traceId", "spanId")}


def test_a_failure_is_a_warning_and_a_large_body_is_whole(engine: Engine, tmp_path: Path) -> None:
    """Severity follows the outcome; nothing is cut at the limits of an SDK."""
    world = fixed_world(engine)
    with audit_context(actor=KIM), world.sessions.begin() as session:
        world.trail.record(
            session,
            "login.failed",
            outcome="failure",
            reason="r" * 15_000,
            metadata={f"k{n}": "v" * 300 for n in range(140)},
        )
    (record,) = records(delivered(engine, world.trail.tables, tmp_path))
    assert ("WARN", 13) == (record["severityText"], record["severityNumber"])
    assert "audit.login.failed" == record["eventName"]
    found = attributes(record["attributes"])
    assert (text("login.failed"), text("FAILED")) == (found["audit.action"], found["audit.verb"])
    assert world.rows()[0].body == record["body"]["stringValue"]
    assert len(record["body"]["stringValue"]) > 50_000
