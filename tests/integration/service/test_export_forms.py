"""Exports as OCSF and as CloudEvents, checked by readers of those that are not ours."""

from __future__ import annotations

import json
import tracemalloc
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from sqlalchemy import text

from auditspan.format import canonical_json
from auditspan.seal import Sealer
from auditspan.storage.keys import load_or_create_signing_keys
from auditspan.tlog import hash_leaf
from auditspan_service.config import Settings
from support.attacker import take_guards_away
from support.service import Caller, RunningService

PATH = "/v1/audit-events/export"
CLASSES = {3004: "entity_management", 6003: "api_activity"}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENTS: list[dict[str, Any]] = [
    {"action": "report.built"},
    {
        "action": "invoice.sent",
        "target": {"type": "invoice", "id": "7", "version": 3},
        "actor": {"type": "service", "id": "billing", "label": "billing"},
        "outcome": "failure",
        "reason": "the mailbox is full",
        "changes": {"total": {"old": 1.5, "new": None}, "lines": {"new": [1, "é"]}},
        "metadata": {"nested": {"a": [True, None]}},
        "traceparent": TRACEPARENT,
    },
    {"action": "folder.viewed", "target": {"type": "folder"}, "actor": {"type": "anonymous"}},
    {"action": "login.failed", "outcome": "unknown", "actor": {"type": "unknown"}},
    {
        "action": "note.delete",
        "target": {"type": "note", "id": "ü/1 2"},
        "actor": {"type": "system"},
    },
]


FORGED = """
UPDATE audit_event SET body = replace(body, '"occurred_at":"2', '"occurred_at":"about 2')
WHERE action = 'folder.viewed'
"""
"""A time that is none, in a body that is an event otherwise."""


@pytest.fixture
def kim(service: RunningService, settings: Settings) -> Caller:
    """A caller with a sealed trail of all kinds of events."""
    (key,) = load_or_create_signing_keys(settings.signing_key_file, create=True)
    caller = service.caller()
    answer = caller("POST", "/v1/audit-events", json=EVENTS)
    assert 201 == answer.status_code, answer.text
    user = caller.create(username="lee")
    path, match = f"/v1/users/{user['id']}", {"If-Match": "*"}
    caller("PATCH", path, json={"full_name": "Lee"}, headers=match)
    caller("DELETE", path, headers=match)
    with service.services.database.engine.begin() as connection:
        take_guards_away(connection)
        connection.execute(text("UPDATE audit_event SET body = '{' WHERE action = 'login.failed'"))
        connection.execute(text(FORGED))
    engine, tables = service.services.database.engine, service.services.trail.tables
    while Sealer(engine, tables, signing_key=key).seal():
        pass
    return caller


def exported(caller: Caller, form: str) -> list[dict[str, Any]]:
    """The lines of an export."""
    response = caller("GET", PATH, query_string={"format": form})
    assert (200, "application/x-ndjson") == (response.status_code, response.content_type)
    assert f'filename="audit-events.{form}.ndjson"' in response.headers["Content-Disposition"]
    return [json.loads(line) for line in response.text.splitlines()]


def stored(service: RunningService) -> list[str]:
    """The bodies of the trail as they are stored."""
    event = service.services.trail.tables.event
    with service.services.database.reading() as session:
        return list(session.scalars(event.select().with_only_columns(event.c.body)))


@cache
def validator(class_uid: int) -> jsonschema_rs.Validator:
    """The schema of a class of OCSF."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.6.0"))
    return jsonschema_rs.validator_for(schema.get_class_schema(CLASSES[class_uid]))


def test_every_event_fits_the_schema_of_ocsf(service: RunningService, kim: Caller) -> None:
    """Also one that was tampered with; each has the exact text that was sealed."""
    lines = exported(kim, "ocsf")
    assert sorted(stored(service)) == sorted(line["raw_data"] for line in lines)
    errors = [
        error.message for line in lines for error in validator(line["class_uid"]).iter_errors(line)
    ]
    assert [] == errors
    assert list(range(len(lines))) == [line["metadata"]["sequence"] for line in lines]


def test_ocsf_event_has_class_activity_status_and_actor(kim: Caller) -> None:
    """Class, activity, status, actor, entity, and what OCSF has no name for."""
    lines = {line["metadata"]["event_code"]: line for line in exported(kim, "ocsf")}
    assert {
        "report.built": (600399, "built", 1),
        "invoice.sent": (300499, "sent", 2),
        "folder.viewed": (300402, "Read", 1),
        "note.delete": (300404, "Delete", 1),
        "user.create": (300401, "Create", 1),
        "user.update": (300403, "Update", 1),
    }.items() <= {
        action: (line["type_uid"], line["activity_name"], line["status_id"])
        for action, line in lines.items()
    }.items()
    sent, updated = lines["invoice.sent"], lines["user.update"]
    assert {"uid": "7", "type": "invoice", "version": "3"}.items() <= sent["entity_result"].items()
    assert ("the mailbox is full", "0af7651916cd43dd8448eb211c80319c") == (
        sent["status_detail"],
        sent["metadata"]["correlation_uid"],
    )
    assert {"name": "tester", "type": "User"}.items() <= updated["actor"]["user"].items()
    assert ("127.0.0.1", {"full_name": "Lee"}) == (
        updated["src_endpoint"]["ip"],
        updated["entity_result"]["data"],
    )
    assert {"nested": {"a": [True, None]}}.items() <= sent["unmapped"]["metadata"].items()


def test_every_line_is_a_cloud_event(service: RunningService, kim: Caller) -> None:
    """The SDK for CloudEvents reads each; the data is what was sealed, and can be verified."""
    lines = exported(kim, "cloudevents")
    leaves = service.services.trail.tables.leaf
    with service.services.database.reading() as session:
        hashes = list(
            session.scalars(
                leaves.select().with_only_columns(leaves.c.leaf_hash).order_by(leaves.c.seq)
            )
        )
    for line, expected in zip(lines, hashes, strict=True):
        message = HTTPMessage(
            {"content-type": "application/cloudevents+json"}, json.dumps(line).encode()
        )
        event = from_structured_event(message, JSONFormat())
        data: Any = event.get_data()
        body = data if isinstance(data, str) else canonical_json(data)
        assert expected == hash_leaf(
            row_id=int(str(event.get_extension("rowid"))),
            recorded_at=str(event.get_extension("recordedtime")),
            mac=str(event.get_extension("mac")),
            body=body,
        )


def test_row_without_any_time_is_exported(service: RunningService, kim: Caller) -> None:
    """After tampering with both times, OCSF counts from 1970, and a CloudEvent has no time."""
    with service.services.database.engine.begin() as connection:
        connection.execute(text("UPDATE audit_event SET recorded_at = 'infinity' WHERE body = '{'"))
        connection.execute(text("UPDATE audit_event SET occurred_at = 'infinity' WHERE body = '{'"))
    siem = next(line for line in exported(kim, "ocsf") if line["raw_data"] == "{")
    assert [] == [error.message for error in validator(siem["class_uid"]).iter_errors(siem)]
    assert (0, None) == (siem["time"], siem["metadata"].get("logged_time"))
    event = next(line for line in exported(kim, "cloudevents") if line["data"] == "{")
    assert (True, False) == (event["recordedtime"].startswith("infinity"), "time" in event)


def test_cloud_event_has_type_source_subject_and_trace(kim: Caller) -> None:
    """Type, source, subject and trace are attributes; the sequence sorts as text."""
    lines = exported(kim, "cloudevents")
    assert sorted(line["sequence"] for line in lines) == [line["sequence"] for line in lines]
    sent, deleted, built = (
        next(line for line in lines if line["type"] == f"audit.{action}")
        for action in ("invoice.sent", "note.delete", "report.built")
    )
    assert ("/auditspan/tester", "invoice/7", TRACEPARENT, "1.0") == tuple(
        sent[name] for name in ("source", "subject", "traceparent", "specversion")
    )
    assert ("note/ü/1 2", None) == (deleted["subject"], built.get("subject"))
    assert sent["id"] == sent["data"]["event_id"]


FILL = """
INSERT INTO audit_event (event_id, occurred_at, actor_type, action, outcome, tx_id, body)
SELECT gen_random_uuid(), now(), 'user', 'note.made', 'success', 'tx', body
FROM audit_event, generate_series(1, 2000) WHERE action = 'note.made'
"""


@pytest.mark.parametrize("form", ["ocsf", pytest.param("cloudevents", marks=pytest.mark.slow)])
def test_export_takes_memory_for_a_page_only(postgresql_service: RunningService, form: str) -> None:
    """2,000 events take a fraction of their size, as they are sent."""
    service, kim = postgresql_service, postgresql_service.caller()
    settings = service.services.settings
    (key,) = load_or_create_signing_keys(settings.signing_key_file, create=True)
    kim("POST", "/v1/audit-events", json={"action": "note.made", "metadata": {"note": "x" * 4000}})
    with service.services.database.engine.begin() as connection:
        connection.execute(text(FILL))
    engine, tables = service.services.database.engine, service.services.trail.tables
    while Sealer(engine, tables, signing_key=key).seal():
        pass
    client, bearer = service.app.test_client(), {"Authorization": f"Bearer {kim.key}"}
    response = client.get(f"{PATH}?format={form}", headers=bearer, buffered=False)
    tracemalloc.start()
    size = sum(map(len, response.iter_encoded()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (True, True) == (size > 8e6, peak < 4e6), (size, peak)
