"""`POST /v1/audit-events`: events of other services."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import MetaData, func, select
from sqlalchemy.orm import sessionmaker

from auditspan import Actor, AuditTrail, ForeignEvent
from auditspan_service.database.engine import make_engine
from support.service import Caller, RunningService, problem

PATH = "/v1/audit-events"
ID = "01890000-0000-7000-8000-00000000000a"
OTHER_ID = "01890000-0000-7000-8000-00000000000b"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
EVENT: dict[str, Any] = {
    "event_id": ID,
    "action": "invoice.sent",
    "actor": {"type": "user", "id": "42", "label": "kim"},
    "target": {"type": "invoice", "id": "7", "version": 3},
    "outcome": "failure",
    "reason": "the mailbox is full",
    "changes": {"total": {"old": "1.50", "new": 2.5}, "password": {"new": "hunter2"}},
    "metadata": {"attempt": 2, "api_key": "hunter2", "nested": [{"token": "hunter2"}]},
    "traceparent": f"00-{TRACE}-{SPAN}-01",
}


@pytest.fixture
def billing(service: RunningService) -> Caller:
    """A service with a key to record events and to read them."""
    return service.caller("audit:write", "audit:read", username="billing")


def count(service: RunningService) -> int:
    """The number of events that other services have recorded."""
    return sum("ingest" in body["metadata"] for body in service.bodies())


def now(**ago: float) -> str:
    """A time in the format of bodies."""
    moment = datetime.now(UTC) - timedelta(**ago)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_event_is_recorded_with_its_producer_and_without_its_secrets(
    service: RunningService, billing: Caller
) -> None:
    """The row has the given members; the producer is the key's owner, whatever the event says."""
    occurred_at = now(minutes=1)
    response = billing("POST", PATH, json={**EVENT, "occurred_at": occurred_at})
    recorded = response.get_json()
    assert (201, f"{PATH}/{ID}") == (response.status_code, response.headers["Location"])
    assert recorded == billing("GET", response.headers["Location"]).get_json()
    assert {
        name: recorded[name] for name in ("action", "actor", "target", "outcome", "reason")
    } == {name: EVENT[name] for name in ("action", "actor", "target", "outcome", "reason")}
    assert (occurred_at, TRACE, SPAN) == (
        recorded["occurred_at"],
        recorded["trace_id"],
        recorded["span_id"],
    )
    assert {"old": "1.50", "new": {"$json": "2.5"}} == recorded["changes"]["total"]
    assert ("billing", {"producer": str(billing.user_id)}) == (
        recorded["service"]["name"],
        recorded["metadata"]["ingest"],
    )
    assert "hunter2" not in json.dumps(service.bodies())


def test_minimal_event_is_recorded_with_the_producer_as_its_actor(
    service: RunningService, billing: Caller
) -> None:
    """An action is enough; each call then records another event."""
    first, second = (billing("POST", PATH, json={"action": "report.built"}) for _ in range(2))
    assert [201, 201, 2] == [first.status_code, second.status_code, count(service)]
    actor = {"type": "user", "id": str(billing.user_id), "label": "billing"}
    assert [actor, "success"] == [first.get_json()[name] for name in ("actor", "outcome")]


def test_repeat_is_answered_with_the_recorded_event(
    service: RunningService, billing: Caller
) -> None:
    """In any spelling of the id, and without the members that depend on the time of the call."""
    given = {**EVENT, "occurred_at": now(minutes=1)}
    first = billing("POST", PATH, json=given)
    without = {name: given[name] for name in given if name not in {"occurred_at", "traceparent"}}
    repeats = [given, without, {**given, "event_id": ID.upper()}]
    answers = [billing("POST", PATH, json=one) for one in repeats]
    assert [(200, first.get_json())] * 3 == [(one.status_code, one.get_json()) for one in answers]
    assert 1 == count(service)


OTHERS: dict[str, dict[str, Any]] = {
    "action": {"action": "invoice.paid"},
    "actor": {"actor": {"type": "user", "id": "43"}},
    "target": {"target": None},
    "outcome": {"outcome": "success"},
    "reason": {"reason": "another"},
    "changes": {"changes": {"total": {"old": "1.50", "new": "2.50"}}},
    "metadata": {"metadata": {"attempt": 3}},
    "occurred_at": {"occurred_at": "2020-01-01T00:00:00Z"},
    "traceparent": {"traceparent": f"00-{SPAN * 2}-{SPAN}-01"},
}


def test_other_content_under_a_used_id_is_refused(service: RunningService, billing: Caller) -> None:
    """Whichever member differs, and whoever the other producer is; nothing is recorded."""
    billing("POST", PATH, json=EVENT)
    shipping = service.caller("audit:write", username="shipping")
    answers = {name: billing("POST", PATH, json=EVENT | other) for name, other in OTHERS.items()}
    answers["producer"] = shipping("POST", PATH, json=EVENT)
    answers["batch"] = billing("POST", PATH, json=[{"action": "a.b"}, EVENT | OTHERS["action"]])
    refused = {name: problem(one) for name, one in answers.items()}
    assert dict.fromkeys(answers, (409, "/problems/event-conflict")) == {
        name: (one["status"], one["type"]) for name, one in refused.items()
    }
    assert ("1", 1) == (refused["batch"]["errors"][0]["field"], count(service))


def test_id_of_a_change_of_the_trail_is_refused(service: RunningService, billing: Caller) -> None:
    """A producer cannot claim an event that the trail itself recorded."""
    own = service.bodies()[0]["event_id"]
    answer = billing("POST", PATH, json={"action": "report.built", "event_id": own})
    assert 409 == problem(answer)["status"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "action missing": ({"action": None}, "2.action"),
    "action": ({"action": "sent"}, "2.action"),
    "action too long": ({"action": f"a.{'b' * 600}"}, "2.action"),
    "event id": ({"event_id": "7"}, "2.event_id"),
    "event id of version 5": ({"event_id": ID.replace("-7", "-5")}, "2.event_id"),
    "event id twice": ({"event_id": ID}, "2"),
    "time": ({"occurred_at": "noon"}, "2.occurred_at"),
    "time without zone": ({"occurred_at": "2026-01-01T00:00:00"}, "2.occurred_at"),
    "time before 1970": ({"occurred_at": "1066-10-14T09:00:00Z"}, "2"),
    "time as a number": ({"occurred_at": 0}, "2.occurred_at"),
    "actor type": ({"actor": {"type": "database"}}, "2.actor.type"),
    "actor member": ({"actor": {"type": "user", "name": "kim"}}, "2.actor.name"),
    "target id too long": ({"target": {"type": "invoice", "id": "é" * 513}}, "2.target.id"),
    "target of an own type": ({"target": {"type": "user", "id": "1"}}, "2"),
    "own action": ({"action": "api_key.create"}, "2"),
    "reserved action": ({"action": "trail.key_added"}, "2"),
    "outcome": ({"outcome": "good"}, "2.outcome"),
    "changes without a side": ({"changes": {"total": {}}}, "2"),
    "changes with another side": ({"changes": {"total": {"was": 1}}}, "2.changes.total.was"),
    "reserved name": ({"metadata": {"ingest": {}}}, "2"),
    "too large": ({"metadata": {f"{n:0100}": n for n in range(700)}}, "2"),
    "traceparent": ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, "2"),
    "tenant": ({"tenant": "north"}, "2.tenant"),
}


def test_invalid_event_refuses_its_batch_and_is_named_by_its_index(
    service: RunningService, billing: Caller
) -> None:
    """The answer is 422 with the index, and none of the other events is recorded."""
    found = {}
    for name, (members, _) in BAD.items():
        batch = [EVENT, {"action": "a.b"}, {"action": "a.b"} | members, {"action": "a.b"}]
        document = problem(billing("POST", PATH, json=batch))
        found[name] = (document["status"], document["errors"][0]["field"])
    assert {name: (422, field) for name, (_, field) in BAD.items()} == found
    assert 0 == count(service)


def test_batch_is_recorded_in_order_up_to_500(service: RunningService, billing: Caller) -> None:
    """The answer has the events in the order of the batch; one more is refused, and so is none."""
    batch = [{"action": "batch.item", "metadata": {"größe": n}} for n in range(500)]
    done = billing("POST", PATH, json=batch)
    assert (201, list(range(500))) == (
        done.status_code,
        [event["metadata"]["größe"] for event in done.get_json()["items"]],
    )
    recorded = [b["metadata"]["größe"] for b in service.bodies() if b["action"] == "batch.item"]
    assert list(range(500)) == recorded
    for wrong in ([*batch, batch[0]], []):
        assert 422 == problem(billing("POST", PATH, json=wrong))["status"]


def test_batch_with_recorded_events_records_only_the_new_ones(
    service: RunningService, billing: Caller
) -> None:
    """A producer that lost an answer sends the batch again, with what happened since."""
    first = billing("POST", PATH, json=[EVENT])
    again = billing("POST", PATH, json=[EVENT, {"action": "invoice.paid", "event_id": OTHER_ID}])
    assert (201, 2) == (again.status_code, count(service))
    assert first.get_json()["items"][0] == again.get_json()["items"][0]


@pytest.mark.parametrize(
    ("ago", "flag"),
    [
        ({"minutes": -6}, "ahead"),
        ({"days": -9000}, "ahead"),
        ({"minutes": -4}, None),
        ({"hours": 23}, None),
        ({"hours": 25}, "behind"),
        ({"days": 9000}, "behind"),
    ],
    ids=str,
)
def test_time_of_a_wrong_clock_is_kept_and_flagged(
    billing: Caller, ago: dict[str, float], flag: str | None
) -> None:
    """More than five minutes ahead, or a day behind, of the trail's own clock."""
    given = {"action": "report.built", "event_id": ID, "occurred_at": now(**ago)}
    recorded = billing("POST", PATH, json=given).get_json()
    assert (given["occurred_at"], flag) == (
        recorded["occurred_at"],
        recorded["metadata"]["ingest"].get("clock"),
    )
    assert 200 == billing("POST", PATH, json=given).status_code


def test_on_behalf_of_requires_its_scope(service: RunningService, billing: Caller) -> None:
    """A key without it is refused with 403; with it, the member is recorded."""
    event = {**EVENT, "on_behalf_of": {"type": "service", "id": "erp", "label": "ERP"}}
    refused = problem(billing("POST", PATH, json=[event]))
    assert (403, True, 0) == (
        refused["status"],
        "audit:on-behalf-of" in refused["detail"],
        count(service),
    )
    erp = service.caller("audit:write", "audit:on-behalf-of", username="billing")
    assert event["on_behalf_of"] == erp("POST", PATH, json=event).get_json()["on_behalf_of"]


def test_parallel_repeats_are_recorded_once(service: RunningService, billing: Caller) -> None:
    """50 calls with one id, alone and in batches that overlap: one row each, and equal answers."""
    ids = [str(uuid.UUID(int=uuid.UUID(ID).int + n)) for n in range(4)]
    events = [{"action": "invoice.sent", "event_id": each} for each in ids]
    batches = [events[:2], events[1:3][::-1], events[2:], events[::-1], events[:1]] * 10
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda batch: billing("POST", PATH, json=batch), batches))
    assert {200, 201} == {answer.status_code for answer in answers}
    assert 4 == count(service)
    items = [item for answer in answers for item in answer.get_json()["items"]]
    assert 4 == len({json.dumps(item, sort_keys=True) for item in items})


def test_parallel_repeats_are_recorded_once_in_serializable_transactions(
    postgresql_url: str,
) -> None:
    """Also where a transaction does not see what another one has committed since it began."""
    engine = make_engine(postgresql_url)
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    trail = AuditTrail(sessionmaker(serializable), metadata=MetaData(), mac_key=None)
    event = ForeignEvent(action="invoice.sent", event_id=ID)
    producer = Actor.service("billing")
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(trail.ingest, [event], producer=producer) for _ in range(50)]
        receipts = [receipt for call in calls for receipt in call.result()]
    assert 1 == sum(receipt.is_new for receipt in receipts)
    with engine.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(trail.tables.event))
        assert 1 == rows.scalar_one()
    engine.dispose()
