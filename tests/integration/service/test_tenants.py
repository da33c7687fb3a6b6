"""Tenants: a key of one reads and records its events, and none of the others'."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auditspan import Actor, audit_context
from auditspan.seal import Sealer
from auditspan.tlog import SigningKey
from auditspan_service.accounts.api_keys import create_key
from support.migrated import migrated_sqlite
from support.service import Caller, RunningService, problem, running_service, settings_at

EVENTS = "/v1/audit-events"
SCOPES = ("audit:read", "audit:write", "audit:on-behalf-of")
TENANTS = ("north", "south", None)
FILTERS = (
    *("", "actor=kim", "actor=7", "action=note.*", "target_type=note", "target_id=1", "field=text"),
    *("outcome=success", "since=2000-01-01", "until=2999-01-01", "text=note", "on_behalf_of=lee"),
    *("actor!=nobody", "field!=other", "action!=user.create", "limit=1"),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A service with two events of each tenant and of none, sealed."""

    service: RunningService
    callers: dict[str | None, Caller]
    events: dict[str | None, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all tests, on SQLite: the conditions are the same on PostgreSQL."""
    folder = tmp_path_factory.mktemp("tenants")
    url = migrated_sqlite(folder / "auditspan.db")
    with running_service(settings_at(folder, url, record_access=True)) as service:
        callers = {tenant: caller(service, tenant) for tenant in TENANTS}
        events = {tenant: record(one) for tenant, one in callers.items()}
        sealer = Sealer(
            service.services.database.engine,
            service.services.trail.tables,
            signing_key=SigningKey(name="auditspan/test", seed=bytes(32)),
        )
        while sealer.seal():
            pass
        yield Place(service=service, callers=callers, events=events)


def caller(service: RunningService, tenant: str | None) -> Caller:
    """A caller with a key of this tenant."""
    context = audit_context(actor=Actor.system("test"))
    with context, service.services.database.writing() as session:
        issued = create_key(session, f"service of {tenant}", SCOPES, tenant=tenant)
        return Caller(app=service.app, key=issued.text, user_id=issued.key.user_id)


def record(one: Caller) -> list[dict[str, Any]]:
    """Two events like those of the other tenants."""
    event = {
        "action": "note.made",
        "actor": {"type": "user", "id": "7", "label": "kim"},
        "on_behalf_of": {"type": "user", "id": "8", "label": "lee"},
        "target": {"type": "note", "id": "1"},
        "changes": {"text": {"new": "note"}},
    }
    items: list[dict[str, Any]] = one("POST", EVENTS, json=[event, event]).get_json()["items"]
    return items


def ids(events: list[dict[str, Any]]) -> set[str]:
    """Their ids."""
    return {event["event_id"] for event in events}


@pytest.mark.parametrize("tenant", ["north", "south"])
def test_no_answer_crosses_the_tenant(place: Place, tenant: str) -> None:
    """Whatever the filter: searches and their pages, exports, histories."""
    own, kim = ids(place.events[tenant]), place.callers[tenant]
    others = ids([e for name in TENANTS if name != tenant for e in place.events[name]])
    for query in FILTERS:
        path: str | None = f"{EVENTS}?{query}"
        found: set[str] = set()
        while path:
            page = kim("GET", path)
            found |= ids(page.get_json()["items"])
            path = page.headers.get("Link", "").partition(">")[0].lstrip("<") or None
        assert (query, own) == (query, found & (own | others))
        events = [event for event in place.service.bodies() if event["event_id"] in found]
        assert (query, {tenant}) == (query, {event["tenant"] for event in events})
        if "limit" not in query:
            exported = kim("GET", f"{EVENTS}/export?{query}").text
            assert (query, set()) == (query, {one for one in others if one in exported})
            assert own == {one for one in own if one in exported}
    assert own == ids(kim("GET", "/v1/history/note/1").get_json()["items"])


@pytest.mark.parametrize(("tenant", "status"), [("north", 404), ("south", 404), (None, 200)])
def test_states_are_of_objects_without_a_tenant(
    place: Place, tenant: str | None, status: int
) -> None:
    """The service's own objects belong to no tenant, and a key of a tenant finds none of them."""
    assert status == place.callers[tenant]("GET", "/v1/states/user/1?at=2999-01-01").status_code


@pytest.mark.parametrize("tenant", ["north", "south"])
def test_event_of_another_tenant_does_not_exist(place: Place, tenant: str) -> None:
    """Neither it nor its proof is found, like an unknown id; one's own are."""
    kim = place.callers[tenant]
    for other, events in place.events.items():
        expected = 200 if other == tenant else 404
        for path in ("", "/proof"):
            answer = kim("GET", f"{EVENTS}/{events[0]['event_id']}{path}")
            assert (other, path, expected) == (other, path, answer.status_code)
    unknown = problem(kim("GET", f"{EVENTS}/00000000-0000-4000-8000-000000000000"))
    hidden = problem(kim("GET", f"{EVENTS}/{place.events[None][0]['event_id']}"))
    assert {**unknown, "trace_id": ""} == {**hidden, "trace_id": ""}


def test_cursor_of_another_tenant_is_refused(place: Place) -> None:
    """Though the filters are the same; so is a filter that names another tenant."""
    north, south, both = (place.callers[tenant] for tenant in TENANTS)
    cursor = north("GET", f"{EVENTS}?limit=1").get_json()["next"]
    path = f"{EVENTS}?limit=1&cursor={cursor}"
    assert [200, 400, 400] == [one("GET", path).status_code for one in (north, south, both)]
    other = problem(south("GET", f"{EVENTS}?tenant=north"))
    assert (403, "/problems/forbidden") == (other["status"], other["type"])
    assert 400 == south("GET", f"{EVENTS}?tenant!=south").status_code
    assert 200 == south("GET", f"{EVENTS}?tenant=south").status_code


def test_key_without_a_tenant_reads_all(place: Place) -> None:
    """And filters by tenant; what it records has none."""
    both = place.callers[None]
    assert {"north"} == {one["tenant"] for one in both.events(tenant="north", action="note.*")}
    every = ids([event for events in place.events.values() for event in events])
    assert every == ids(both.events(action="note.*"))
    assert {None} == {event["tenant"] for event in place.events[None]}


def test_repeat_by_a_key_of_another_tenant_is_a_conflict(place: Place) -> None:
    """Even of the same user: the event belongs to the tenant that has recorded it."""
    (known, _), event = place.events["north"], {"action": "note.made"}
    again = place.callers["south"]("POST", EVENTS, json={**event, "event_id": known["event_id"]})
    assert (409, "/problems/event-conflict") == (again.status_code, problem(again)["type"])


def test_reads_of_a_tenant_are_events_of_the_tenant(place: Place) -> None:
    """So that it can see who has read its events."""
    place.callers["south"]("GET", f"{EVENTS}?limit=2")
    (newest, *_) = place.callers["south"].events(action="api.read")
    assert ("south", "service of south") == (newest["tenant"], newest["actor"]["label"])


def test_pages_are_not_for_tenants(place: Place) -> None:
    """They show the whole trail, so that a tenant's key cannot sign in."""
    client = place.service.app.test_client()
    page = client.get("/sign-in").text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    form = {"csrf_token": token, "key": place.callers["north"].key}
    assert 403 == client.post("/sign-in", data=form).status_code


def test_key_of_a_tenant_manages_nothing(tmp_path: Path, sqlite_url: str) -> None:
    """A scope for users, keys or everything is refused when the key is made."""
    with running_service(settings_at(tmp_path / "data", sqlite_url)) as service:
        admin = service.caller()
        user = admin.create(username="lee")["id"]
        admin("PUT", f"/v1/users/{user}/roles/admin")
        for scope, expected in (("users:read", 422), ("admin", 422), ("audit:read", 201)):
            given = {"scopes": [scope], "tenant": "north"}
            assert expected == admin("POST", f"/v1/users/{user}/keys", json=given).status_code
