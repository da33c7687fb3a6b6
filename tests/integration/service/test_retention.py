"""`/v1/retention`: the plan, and the authorisation of a purge by somebody who does not write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text
from werkzeug.test import TestResponse

from auditspan import Actor, audit_context
from auditspan.storage import LEASE_PREFIX
from integration.service.test_purged_events import settle
from support.one_database import ONE_DATABASE
from support.service import Caller, RunningService, problem

PATH = "/v1/retention"


@pytest.fixture
def purger(service: RunningService) -> Caller:
    """Somebody who may purge, and nothing else, in a service with delivered events."""
    admin = service.caller(username="root")
    for name in ("lee", "sam"):
        admin.create(username=name)
    deliver(service)
    return service.caller("audit:purge", username="purger")


def deliver(service: RunningService) -> None:
    """Seal and deliver everything, and let the sink of the settings confirm it, too."""
    settle(service)
    table = service.services.trail.tables.delivery
    known = select(table).where(
        table.c.sink != service.services.settings.sink, ~table.c.sink.startswith(LEASE_PREFIX)
    )
    with service.services.database.engine.begin() as connection:
        (row,) = connection.execute(known).mappings()
        connection.execute(delete(table).where(table.c.sink != row["sink"]))
        connection.execute(insert(table), {**row, "sink": service.services.settings.sink})


def authorise(purger: Caller, **members: Any) -> TestResponse:
    """Ask for a purge of everything that is there now."""
    given = {"before": datetime.now(UTC).isoformat(), "reason": "policy 4.2", **members}
    return purger("POST", PATH, json=given)


def purges(service: RunningService) -> list[dict[str, Any]]:
    """The events that authorise a purge."""
    return [body for body in service.bodies() if body["action"] == "trail.purge"]


def test_nothing_is_recorded_unless_asked_for(service: RunningService, purger: Caller) -> None:
    """A dry run is the default, and says the same as the plan."""
    before = service.bodies()
    cut = datetime.now(UTC).isoformat()
    found = purger("POST", PATH, json={"before": cut}).get_json()
    plan = purger("GET", PATH, query_string={"before": cut}).get_json()
    assert {**plan, "dry_run": True} == found
    assert (True, False) == (found["rows"] > 0, found["is_authorised"])
    assert before == service.bodies()


def test_authorisation_is_an_event_of_the_purger(service: RunningService, purger: Caller) -> None:
    """It has the actor, the reason and the request, and the library then removes the rows."""
    found = authorise(purger, dry_run=False).get_json()
    (event,) = purges(service)
    assert (True, False) == (found["is_authorised"], found["dry_run"])
    assert ("policy 4.2", str(purger.user_id)) == (event["reason"], event["actor"]["id"])
    assert ("POST", PATH) == (event["request"]["method"], event["request"]["route"])
    deliver(service)
    report = service.services.trail.retention.purge()
    assert (event["event_id"], found["rows"]) == (report.event_id, report.removed)
    again = authorise(purger, before=found["before"], dry_run=False).get_json()
    assert {**found, "rows": 0} == again
    assert [event] == purges(service)


def test_repeated_authorisation_records_one_event(service: RunningService, purger: Caller) -> None:
    """One after the other, and several at the same time."""
    cut = datetime.now(UTC).isoformat()

    def ask(_number: int) -> dict[str, Any]:
        response = authorise(purger, before=cut, dry_run=False)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.get_json()
        return found

    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(ask, range(4)))
    assert [at_once[0]] * 5 == [*at_once, ask(4)]
    assert len(purges(service)) == 1


@ONE_DATABASE
@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"dry_run": False, "reason": None}, "reason"),
        ({"before": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "before"),
        ({"before": "2026-01-01T00:00:00"}, "before"),
        ({"before": "yesterday"}, "before"),
        ({"dry_run": "no"}, "dry_run"),
        ({"rows": 7}, "rows"),
    ],
)
def test_invalid_members_are_named(
    service: RunningService, purger: Caller, members: dict[str, Any], field: str
) -> None:
    """Nothing is recorded."""
    refused = authorise(purger, **members)
    assert (422, [field]) == (
        refused.status_code,
        [error["field"] for error in problem(refused)["errors"]],
    )
    assert [] == purges(service)


def test_caller_who_writes_cannot_authorise(service: RunningService, purger: Caller) -> None:
    """An administrator, who may do everything else, is refused; so is an auditor."""
    auditor = service.caller("audit:read", username="auditor")
    answers = [authorise(one, dry_run=False) for one in (service.caller(), auditor)]
    assert [403, 403] == [one.status_code for one in answers]
    assert 200 == authorise(purger).status_code
    assert [] == purges(service)


def test_trail_that_fails_verification_is_evidence(service: RunningService, purger: Caller) -> None:
    """409 with the reason, and nothing is authorised."""
    services = service.services
    with (
        audit_context(actor=Actor.system("test")),
        services.trail.unaudited(reason="a test"),
        services.database.writing() as session,
    ):
        session.execute(text("UPDATE users SET full_name = 'unseen' WHERE id = 2"))
    deliver(service)
    refused = authorise(purger, dry_run=False)
    assert (409, "/problems/purge-refused") == (refused.status_code, problem(refused)["type"])
    assert "do not match the trail" in problem(refused)["detail"]
    assert [] == purges(service)
