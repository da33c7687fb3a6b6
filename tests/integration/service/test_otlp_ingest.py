"""`POST /v1/logs`: events of other services as OTLP log records."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from support.one_database import ONE_DATABASE
from support.service import Caller, RunningService

PATH = "/v1/logs"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
ID = "01890000-0000-7000-8000-00000000000a"
OTHER_ID = "01890000-0000-7000-8000-00000000000b"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = {
    "audit.action": "invoice.sent",
    "audit.actor.type": "user",
    "audit.actor.id": "42",
    "audit.actor.label": "kim",
    "audit.outcome": "failure",
    "audit.reason": "the mailbox is full",
    "audit.target.type": "invoice",
    "audit.target.id": "7",
    "audit.changes": '{"total":{"old":"1.50","new":"2.50"},"password":{"new":"hunter2"}}',
    "log.record.uid": ID,
    "code.function": "send",
    "api_key": "hunter2",
}
MOMENT = 1_769_860_800_123_456_789


def document(*records: dict[str, str], **members: Any) -> dict[str, Any]:
    """A request in JSON, with a record for each of these attributes."""
    made = [
        {
            "timeUnixNano": str(MOMENT),
            "traceId": TRACE,
            "spanId": SPAN,
            "attributes": [
                {"key": name, "value": {"stringValue": value}} for name, value in one.items()
            ],
            **members,
        }
        for one in records
    ]
    service = {"key": "service.name", "value": {"stringValue": "shop"}}
    scope = {"scopeLogs": [{"logRecords": made}]}
    return {"resourceLogs": [{"resource": {"attributes": [service]}, **scope}]}


def protobuf(*records: dict[str, str]) -> bytes:
    """The same request in protobuf."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    name = KeyValue(key="service.name", value=AnyValue(string_value="shop"))
    group.resource.attributes.append(name)
    scope = group.scope_logs.add()
    for one in records:
        record = LogRecord(
            time_unix_nano=MOMENT, trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN)
        )
        for key, value in one.items():
            record.attributes.append(KeyValue(key=key, value=AnyValue(string_value=value)))
        scope.log_records.append(record)
    encoded: bytes = request.SerializeToString()
    return encoded


@pytest.fixture
def shop(service: RunningService) -> Caller:
    """A service with a key to record events and to read them."""
    return service.caller("audit:write", "audit:read", username="shop")


def sent(caller: Caller, data: bytes, media_type: str = PROTOBUF, **headers: str) -> Any:
    """The answer to a request with this body."""
    return caller("POST", PATH, data=data, headers={"Content-Type": media_type, **headers})


def recorded(service: RunningService) -> list[dict[str, Any]]:
    """The bodies of the events of other services."""
    return [body for body in service.bodies() if "ingest" in body["metadata"]]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_log_record_is_recorded_as_an_event(
    service: RunningService, shop: Caller, media_type: str, *, packed: bool
) -> None:
    """Its audit attributes, trace and time are the event's; what else it says is metadata."""
    data = protobuf(SENT) if media_type == PROTOBUF else json.dumps(document(SENT)).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    response = sent(shop, gzip.compress(data) if packed else data, media_type, **headers)
    assert (200, media_type) == (response.status_code, response.content_type)
    assert response.data in (b"", b"{}")  # no partial success
    (body,) = recorded(service)
    assert {
        "event_id": ID,
        "action": "invoice.sent",
        "actor": {"type": "user", "id": "42", "label": "kim"},
        "target": {"type": "invoice", "id": "7", "version": None},
        "outcome": "failure",
        "reason": "the mailbox is full",
        "occurred_at": "2026-01-31T12:00:00.123456Z",
        "trace_id": TRACE,
        "span_id": SPAN,
    }.items() <= body.items()
    assert {"old": "1.50", "new": "2.50"} == body["changes"]["total"]
    assert "send" == body["metadata"]["attributes"]["code.function"]
    assert {"service.name": "shop"} == body["metadata"]["resource"]
    producer = {"producer": str(shop.user_id), "clock": "behind"}
    assert ("shop", producer) == (body["service"]["name"], body["metadata"]["ingest"])
    assert "hunter2" not in json.dumps(service.bodies())


def test_repeat_is_recorded_once(service: RunningService, shop: Caller) -> None:
    """In another request, in the same one, and in the other encoding."""
    answers = [
        sent(shop, protobuf(SENT, SENT)),
        sent(shop, protobuf(SENT)),
        sent(shop, json.dumps(document(SENT)).encode(), JSON),
    ]
    assert [b"", b"", b"{}"] == [one.data for one in answers]
    assert 1 == len(recorded(service))


DEEP = '{"a":{"new":' + "[" * 500 + "]" * 500 + "}}"
REFUSED: dict[str, dict[str, str]] = {
    "no action": {"log.record.uid": OTHER_ID},
    "an action without a type": {"audit.action": "sent"},
    "a ULID": {**SENT, "log.record.uid": "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
    "the trail's own type": {**SENT, "audit.action": "user.delete", "log.record.uid": OTHER_ID},
    "an unknown outcome": {**SENT, "audit.outcome": "maybe"},
    "an unknown type of actor": {**SENT, "audit.actor.type": "robot"},
    "an id without a type": {"audit.action": "a.b", "audit.actor.id": "7"},
    "a target without a type": {"audit.action": "a.b", "audit.target.id": "7"},
    "changes that are no map": {"audit.action": "a.b", "audit.changes": "[1]"},
    "changes that are no JSON": {"audit.action": "a.b", "audit.changes": "{"},
    "changes with NaN": {"audit.action": "a.b", "audit.changes": '{"a":{"new":NaN}}'},
    "deep changes": {"audit.action": "a.b", "audit.changes": DEEP},
    "on behalf of another": {"audit.action": "a.b", "audit.on_behalf_of.type": "user"},
    "a used id": {**SENT, "audit.outcome": "success"},
    "a used id of this request": {**SENT, "audit.action": "invoice.paid"},
    "a reserved name": {"audit.action": "trail.purged"},
}


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_refused_records_do_not_prevent_the_others(
    service: RunningService, shop: Caller, media_type: str
) -> None:
    """The accepted ones are committed; the answer has the number of the others, and a reason."""
    given = [SENT, *REFUSED.values(), {"audit.action": "report.built"}]
    if media_type == PROTOBUF:
        response = sent(shop, protobuf(*given))
        found = ExportLogsServiceResponse.FromString(response.data).partial_success
        rejected, message = found.rejected_log_records, found.error_message
    else:
        response = sent(shop, json.dumps(document(*given)).encode(), JSON)
        partial = response.get_json()["partialSuccess"]
        rejected, message = int(partial["rejectedLogRecords"]), partial["errorMessage"]
    assert (200, len(REFUSED)) == (response.status_code, rejected)
    assert message.startswith("Not recorded: the record at index 1: a log record needs an action")
    assert message.endswith(f"; and {len(REFUSED) - 5} more")
    assert ["invoice.sent", "report.built"] == [one["action"] for one in recorded(service)]


def test_malformed_record_in_json_is_rejected_alone(service: RunningService, shop: Caller) -> None:
    """An id of a trace that is not hexadecimal does not prevent the other records."""
    request = document({"audit.action": "a.b"}, {"audit.action": "c.d"})
    request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["traceId"] = "xyz"
    response = sent(shop, json.dumps(request).encode(), JSON)
    assert "1" == response.get_json()["partialSuccess"]["rejectedLogRecords"]
    assert ["c.d"] == [one["action"] for one in recorded(service)]


def test_event_name_is_the_action(service: RunningService, shop: Caller) -> None:
    """Without `audit.action`, or where that is the bare verb; a number can be an id."""
    request = document({"audit.action": "SENT"}, eventName="audit.invoice.sent", body={})
    number = {"key": "audit.target.id", "value": {"intValue": "7"}}
    kind = {"key": "audit.target.type", "value": {"stringValue": "invoice"}}
    request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"] += [number, kind]
    assert b"{}" == sent(shop, json.dumps(request).encode(), JSON).data
    (body,) = recorded(service)
    assert ("invoice.sent", "7") == (body["action"], body["target"]["id"])


def test_batch_of_more_than_500_records_is_recorded(service: RunningService, shop: Caller) -> None:
    """An SDK sends 512 at once, a collector thousands; a bad one at the end is rejected alone."""
    given = [{"audit.action": f"invoice.sent{n}"} for n in range(1100)]
    response = sent(shop, protobuf(*given, {"audit.action": "bad"}))
    found = ExportLogsServiceResponse.FromString(response.data).partial_success
    assert 1 == found.rejected_log_records
    assert "index 1100:" in found.error_message
    assert [one["audit.action"] for one in given] == [one["action"] for one in recorded(service)]


def test_empty_request_is_answered(service: RunningService, shop: Caller) -> None:
    """As the specification says, it is a success."""
    answers = [sent(shop, b""), sent(shop, b"{}", JSON)]
    assert [(200, b""), (200, b"{}")] == [(one.status_code, one.data) for one in answers]
    assert [] == recorded(service)


def test_scope_for_others_is_required(service: RunningService) -> None:
    """With it, the record has the actor on whose behalf the actor acted."""
    key = service.caller("audit:write", "audit:on-behalf-of", username="agent")
    given = {"audit.action": "a.b", "audit.on_behalf_of.type": "user"}
    assert b"" == sent(key, protobuf({**given, "audit.on_behalf_of.id": "8"})).data
    (body,) = recorded(service)
    assert {"type": "user", "id": "8", "label": None} == body["on_behalf_of"]


BOMB = gzip.compress(b"\0" * 20_000_000)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.binary(max_size=9)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([*SENT, "audit.target.version", "x", "", "\0", "password"]) | st.text(
    max_size=5
)


def any_value(value: Any) -> AnyValue:
    """A value in protobuf."""
    if isinstance(value, dict):
        pairs = [KeyValue(key=key, value=any_value(one)) for key, one in value.items()]
        return AnyValue(kvlist_value=KeyValueList(values=pairs))
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    made = AnyValue()
    if value is not None:
        names = {bool: "bool", int: "int", float: "double", bytes: "bytes", str: "string"}
        setattr(made, f"{names[type(value)]}_value", value)
    return made


@pytest.mark.parametrize("examples", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_any_value_is_recorded_or_refused(
    service: RunningService, shop: Caller, examples: int
) -> None:
    """Whatever the attributes and the body are, no record causes a server error."""

    @given(st.lists(st.tuples(st.dictionaries(KEYS, VALUES, max_size=6), VALUES), max_size=5))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def is_answered(records: list[tuple[dict[str, Any], Any]]) -> None:
        request = ExportLogsServiceRequest()
        scope = request.resource_logs.add().scope_logs.add()
        for attributes, body in records:
            record = LogRecord(body=any_value(body), event_name="audit.note.made")
            record.attributes.extend(any_value(attributes).kvlist_value.values)
            scope.log_records.append(record)
        assert 200 == sent(shop, request.SerializeToString()).status_code

    is_answered()
    assert recorded(service)


ERRORS: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "not protobuf": (400, b"\xff\xff\xff", {}),
    "not gzip": (400, protobuf(SENT), {"Content-Encoding": "gzip"}),
    "cut off": (400, gzip.compress(protobuf(SENT))[:-6], {"Content-Encoding": "gzip"}),
    "more than one member": (400, gzip.compress(b"") * 2, {"Content-Encoding": "gzip"}),
    "a bomb": (413, BOMB, {"Content-Encoding": "gzip"}),
    "too large": (413, b"\0" * 1_100_000, {}),
    "another encoding": (415, b"", {"Content-Encoding": "br"}),
    "no key": (401, protobuf(SENT), {"Authorization": "Bearer ask_1_x"}),
}


@ONE_DATABASE
@pytest.mark.parametrize(("status", "data", "headers"), ERRORS.values(), ids=ERRORS)
def test_error_is_answered_with_a_status_message(
    service: RunningService, shop: Caller, status: int, data: bytes, headers: dict[str, str]
) -> None:
    """In the media type of the request, as the OTLP specification requires."""
    response = sent(shop, data, **headers)
    assert (status, PROTOBUF) == (response.status_code, response.content_type)
    assert Status.FromString(response.data).message
    response = sent(shop, data, JSON, **headers)
    assert (status, JSON) == (response.status_code, response.content_type)
    assert response.get_json()["message"]
    assert [] == recorded(service)


def test_key_without_the_scope_is_refused(service: RunningService) -> None:
    """Reading is not recording."""
    response = sent(service.caller("audit:read"), protobuf(SENT))
    assert (403, PROTOBUF) == (response.status_code, response.content_type)
    assert [] == recorded(service)
