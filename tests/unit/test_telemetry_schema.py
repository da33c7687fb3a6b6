"""The telemetry registry: equal to the constants, and to what is really emitted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from auditspan.delivery.log_record import ExportRecord, checkpoint_record, log_record
from auditspan.format.record import AuditRecord
from auditspan.format.record_parts import Actor, Request, Service, Target
from auditspan.format.rows import SealedRow, SignedCheckpoint
from auditspan.telemetry import semconv
from auditspan.telemetry.pointer import pointer
from auditspan.tlog.checkpoint import sign_checkpoint
from auditspan.tlog.merkle import Tree
from auditspan.tlog.note import SigningKey

ROOT = Path(__file__).parents[2]
GROUPS: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / "telemetry-schema" / "registry.yaml").read_text(encoding="utf-8")
)["groups"]
CONSTANTS: dict[str, str] = {
    name: value for name, value in vars(semconv).items() if name.isupper() and name[0] != "_"
}
SEEN_FROM_OUTSIDE = re.compile(r"(audit|client|http|user_agent|log\.record|service)(\.[a-z_]+)+")
#: What the reader of traces looks for, which others emit.
OF_OTHERS = {
    ("actions.py", "audit.verified"),  # an action
    ("actions.py", "audit.viewed"),  # an action
    ("actions.py", "audit.verified"),  # another
    ("trace_tree.py", "http.response.status_code"),
    ("waterfall.py", "http.response.status_code"),
}
PYTHON_TYPES = {"string": str, "int": int}
RECORD = AuditRecord(
    event_id="017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    action="user.update",
    actor=Actor.user(7, label="kim"),
    tx_id="tx",
    service=Service(name="shop", version="1.2", instance="a"),
    target=Target(type="user", id="42", version=3),
    request=Request(
        id="r", client_address="198.51.100.7", user_agent="curl", method="PATCH", route="/v1/users"
    ),
    trace_id="0af7651916cd43dd8448eb211c80319c",
    span_id="b7ad6b7169203331",
)
ROW = SealedRow(
    seq=3,
    row_id=4,
    event_id=RECORD.event_id,
    recorded_at=RECORD.occurred_at,
    body=RECORD.body(),
    mac="ab",
    trail="auditspan/test",
)

CHECKPOINT = SignedCheckpoint(
    size=0,
    root=Tree().root,
    note=sign_checkpoint(SigningKey(name="auditspan/test", seed=bytes(32)), Tree(), 1),
    created_at=RECORD.occurred_at,
)


def of_type(kind: str) -> list[dict[str, Any]]:
    """The groups of a type."""
    return [group for group in GROUPS if group["type"] == kind]


def group(identifier: str) -> dict[str, Any]:
    """One group by its id."""
    (found,) = [one for one in GROUPS if one["id"] == identifier]
    return found


def attributes() -> dict[str, dict[str, Any]]:
    """Every attribute that the registry defines."""
    groups = [*of_type("attribute_group"), *of_type("resource")]
    return {one["id"]: one for group in groups for one in group["attributes"]}


def references(identifier: str, *levels: str) -> set[str]:
    """The attributes of an event, of these requirement levels or of any."""
    listed = group(identifier).get("attributes", [])
    return {one["ref"] for one in listed if not levels or one["requirement_level"] in levels}


def constants(prefix: str) -> set[str]:
    """The constants whose name begins so."""
    return {value for name, value in CONSTANTS.items() if name.startswith(prefix)}


def test_the_metrics_are_those_of_the_constants() -> None:
    """Every metric has a constant and every constant a metric."""
    assert constants("METRIC_") == {group["metric_name"] for group in of_type("metric")}


def test_the_events_are_those_of_the_constants() -> None:
    """Every event has a constant and every constant an event; one prefix makes all other names."""
    names = {group["name"] for group in of_type("event") if "{" not in group["name"]}
    prefixes = {
        group["annotations"]["prefix"] for group in of_type("event") if "{" in group["name"]
    }
    assert constants("EVENT_") - constants("EVENT_PREFIX") == names
    assert constants("EVENT_PREFIX") == prefixes


def test_the_scope_is_that_of_the_constants() -> None:
    """There is one instrumentation scope."""
    assert [semconv.SCOPE] == [group["name"] for group in of_type("scope")]


def test_the_attributes_are_those_of_the_constants() -> None:
    """Every attribute has a constant and every constant an attribute."""
    others = constants("METRIC_") | constants("EVENT_") | {semconv.SCOPE}
    assert set(CONSTANTS.values()) - others == set(attributes())


def test_no_name_is_given_twice() -> None:
    """Two constants never have one value, and two groups never one id."""
    assert len(CONSTANTS) == len(set(CONSTANTS.values()))
    assert len(GROUPS) == len({group["id"] for group in GROUPS})


def test_every_name_has_a_description() -> None:
    """Groups and attributes have a sentence; attributes, events and metrics have their form."""
    for one in [*GROUPS, *attributes().values()]:
        assert one["brief"].endswith("."), one["id"]
    for name, one in attributes().items():
        assert isinstance(one["type"], dict) or one["type"] in PYTHON_TYPES, name
        assert {"note", "stability"} <= set(one), name
    for one in of_type("metric"):
        assert {"instrument", "unit", "note", "stability"} <= set(one), one["id"]


@pytest.mark.parametrize("event", of_type("event"), ids=lambda event: event["id"])
def test_an_event_refers_to_attributes_that_exist(event: dict[str, Any]) -> None:
    """No event has an attribute that is not defined."""
    assert references(event["id"]) <= set(attributes())


def fits(name: str, value: object) -> bool:
    """Return whether a value has the registered type of its attribute."""
    kind = attributes()[name]["type"]
    if isinstance(kind, dict):
        return value in [member["value"] for member in kind["members"]]
    return type(value) is PYTHON_TYPES[kind]


def resource(record: ExportRecord) -> dict[str, str]:
    """Return the attributes of the resource of a record."""
    found = Resource.FromString(record.resource).attributes
    return {one.key: one.value.string_value for one in found}


def emitted() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the attributes emitted for a record that has everything."""
    yield "event.auditspan.span", pointer(RECORD)
    yield "event.auditspan.record", log_record(ROW).attributes
    yield "event.auditspan.checkpoint", checkpoint_record(CHECKPOINT).attributes
    yield "resource.auditspan.service", resource(log_record(ROW))


@pytest.mark.parametrize(("identifier", "found"), list(emitted()))
def test_emitted_attributes_are_registered(identifier: str, found: Mapping[str, Any]) -> None:
    """A record with everything carries every attribute of its event, of the registered type."""
    expected = {one.get("ref", one.get("id")) for one in group(identifier)["attributes"]}
    assert expected == set(found)
    assert [] == [name for name, value in found.items() if not fits(name, value)]


def test_a_record_with_nothing_carries_what_is_required() -> None:
    """Required attributes are always present, and unknown ones are absent, not empty."""
    bare = AuditRecord(
        event_id=RECORD.event_id,
        occurred_at=RECORD.occurred_at,
        action="login.failed",
        actor=Actor.unknown(),
        tx_id="tx",
        service=Service(name="shop"),
    )
    row = SealedRow(
        seq=0,
        row_id=1,
        event_id=bare.event_id,
        recorded_at=bare.occurred_at,
        body=bare.body(),
        mac=None,
    )
    assert references("event.auditspan.span", "required") == set(pointer(bare))
    assert references("event.auditspan.record", "required") == set(log_record(row).attributes)
    assert {"service.name": "shop"} == resource(log_record(row))


def test_no_telemetry_name_is_spelled_outside_the_one_module() -> None:
    """All names live in semconv: no other module has one as a literal."""
    spelled = {
        (path.name, node.value)
        for path in (ROOT / "src" / "auditspan").rglob("*.py")
        if path.name != "semconv.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SEEN_FROM_OUTSIDE.fullmatch(node.value)
        and not node.value.endswith(".jsonl")
        and (path.name, node.value) not in OF_OTHERS
    }
    assert set() == spelled


def test_every_registered_metric_is_recorded() -> None:
    """A metric that is promised is recorded somewhere in the library."""
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "src" / "auditspan").rglob("*.py")
        if path.name != "semconv.py"
    )
    promised = {name for name in CONSTANTS if name.startswith("METRIC_")}
    assert set() == {name for name in promised if f"semconv.{name}" not in text}
