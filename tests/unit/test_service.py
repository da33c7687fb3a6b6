"""The program that wrote a record, from OpenTelemetry's resource to the body and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as PbResource
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AnyValue

from auditspan.delivery.log_record import log_record
from auditspan.errors import AuditBodyError
from auditspan.format import SealedRow
from auditspan.format.body import read_event
from auditspan.format.record import AuditRecord
from auditspan.format.record_parts import Actor, Service
from auditspan.telemetry import service_from_resource
from auditspan.telemetry.service import of_environment

ATTRIBUTES: dict[str, AnyValue] = {
    "service.name": "shop",
    "service.version": "2",
    "service.instance.id": "i",
    "k8s.pod.name": "a",
    "process.pid": 7,
}


def written(service: Service) -> AuditRecord:
    """Return a record of this program."""
    return AuditRecord(
        event_id="017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        action="user.update",
        actor=Actor.unknown(),
        tx_id="tx",
        service=service,
    )


def test_record_carries_the_whole_resource_of_its_writer() -> None:
    """Body and log record have every attribute of the resource but those of the SDK."""
    record = written(service_from_resource(Resource.create(ATTRIBUTES).attributes))
    body = read_event(record.body())
    row = SealedRow(0, 1, record.event_id, record.occurred_at, record.body(), None)
    found = PbResource.FromString(log_record(row).resource).attributes
    assert {"k8s.pod.name": "a", "process.pid": "7"} == body["service"]["attributes"]
    assert {name: str(value) for name, value in ATTRIBUTES.items()} == {
        one.key: one.value.string_value for one in found
    }


def test_body_of_a_resource_without_more_attributes_is_as_before() -> None:
    """The member is left out, so that such bodies keep their bytes."""
    service = json.loads(written(Service(name="shop")).body())["service"]
    assert {"name": "shop", "version": None, "instance": None} == service


@pytest.mark.parametrize("attributes", [[], "a", None, {"a": 1}])
def test_other_types_of_attributes_are_not_a_body(attributes: object) -> None:
    """A tampered body is refused when it is read."""
    body = json.loads(written(Service(name="shop", attributes={"a": "b"})).body())
    body["service"]["attributes"] = attributes
    with pytest.raises(AuditBodyError, match="service"):
        read_event(json.dumps(body))


def test_environment_is_read_as_the_sdk_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK, a program has the same name and attributes."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=other, host.name=a%20b ,bad,service.instance.id=i",
    )
    with_sdk = service_from_resource()
    assert with_sdk == service_from_resource(of_environment())
    assert Service(name="shop", instance="i", attributes={"host.name": "a b"}) == with_sdk
