"""States of objects at a time over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from support.attacker import take_guards_away
from support.service import Caller, RunningService, problem

ALWAYS = "2999-01-01"


def state(caller: Caller, target: str, at: str) -> dict[str, Any]:
    """The state of an object, which must exist."""
    response = caller("GET", f"/v1/states/{target}", query_string={"at": at})
    assert 200 == response.status_code, response.text
    found: dict[str, Any] = response.get_json()
    return found


def status(caller: Caller, target: str, at: str = ALWAYS) -> int:
    """The status of a state that there is not."""
    return int(problem(caller("GET", f"/v1/states/{target}", query_string={"at": at}))["status"])


def test_state_is_what_the_object_was_after_each_change(service: RunningService) -> None:
    """At the time of each event it is what the API answered then, also after the deletion."""
    caller = service.caller()
    shown = [caller.create(username="lee", full_name="Lee")]
    path, target = f"/v1/users/{shown[0]['id']}", f"user/{shown[0]['id']}"
    for name in ("Lee Park", "L. Park"):
        change = {"full_name": name}
        shown.append(caller("PATCH", path, json=change, headers={"If-Match": "*"}).get_json())
    caller("DELETE", path, headers={"If-Match": "*"})
    events = caller("GET", f"/v1/history/{target}").get_json()["items"]
    *changes, deletion = events
    found = [state(caller, target, event["occurred_at"]) for event in changes]
    members = ("id", "username", "full_name", "version")
    assert [[one[name] for name in members] for one in shown] == [
        [one["values"][name] for name in members[:3]] + [one["target"]["version"]] for one in found
    ]
    assert [event["event_id"] for event in changes] == [one["event_id"] for one in found]
    assert {True} == {one["is_complete"] for one in found}
    assert [404, 404] == [
        status(caller, target, at) for at in ("2001-01-01", deletion["occurred_at"])
    ]


@pytest.mark.parametrize(
    "target",
    ["user/0", "user/x", "user/%00", f"user/{10**30}", "user/-1", "nothing/1", "user/1/2", "%00/1"],
)
def test_unknown_object_is_not_found(service: RunningService, target: str) -> None:
    """An unknown type, or an id that no object can have, is 404."""
    assert 404 == status(service.caller(), target)


@pytest.mark.parametrize(("query", "said"), [("", "required"), ("?at=now", "ISO 8601")])
def test_time_is_required(service: RunningService, query: str, said: str) -> None:
    """The message says how it is written."""
    refused = problem(service.caller()("GET", f"/v1/states/user/1{query}"))
    assert (400, True) == (refused["status"], said in refused["detail"])


def test_state_of_a_changed_body_is_refused(service: RunningService) -> None:
    """The answer says that the trail is damaged."""
    caller = service.caller()
    user = caller.create(username="lee")
    with service.services.database.engine.begin() as connection:
        take_guards_away(connection)
        connection.exec_driver_sql("UPDATE audit_event SET body = '{'")
    refused = problem(caller("GET", f"/v1/states/user/{user['id']}?at={ALWAYS}"))
    assert (409, "/problems/damaged-trail") == (refused["status"], refused["type"])
