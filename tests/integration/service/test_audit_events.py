"""`/v1/audit-events`: the trail as auditors read it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from auditspan.storage.keys import rotate_mac_key
from auditspan_service.cli import main
from auditspan_service.config import Settings
from support.one_database import ONE_DATABASE
from support.service import Caller, RunningService, problem, running_service

MEMBERS = [
    *("v", "event_id", "occurred_at", "action", "outcome", "reason", "actor", "on_behalf_of"),
    *("target", "changes", "request", "trace_id", "span_id", "tx_id", "tenant", "service"),
    *("change_id", "metadata", "seq", "recorded_at", "delivered"),
]


def test_event_resource(service: RunningService) -> None:
    """An event is its body with seq, recorded_at and delivered, alone and in a list alike."""
    kim = service.caller()
    kim.create(username="lee")
    newest, *_ = kim.events()
    assert sorted(newest) == sorted(MEMBERS)
    assert (newest["seq"], newest["delivered"]) == (None, False)
    assert {name: newest[name] for name in service.bodies()[-1]} == service.bodies()[-1]

    one = kim("GET", f"/v1/audit-events/{newest['event_id'].upper()}")
    assert (one.status_code, one.get_json()) == (200, newest)


@pytest.fixture
def story(service: RunningService) -> dict[str, Any]:
    """Two callers and their changes; what each filter should find, newest first."""
    kim, lee = service.caller(username="kim"), service.caller(username="lee")
    first, second = kim.create(username="first"), lee.create(username="second")
    changed = kim(
        "PATCH",
        f"/v1/users/{first['id']}",
        json={"full_name": "First"},
        headers={"If-Match": '"1"'},
    )
    trace_id = changed.headers["traceresponse"].split("-")[1]
    return {
        "kim": kim,
        "lee": lee,
        "first": first,
        "second": second,
        "trace_id": trace_id,
        "request_id": kim.events()[0]["request"]["id"],
    }


def test_filters(story: dict[str, Any]) -> None:
    """Each filter finds what it names, filters together what all of them name."""
    kim, lee, first, second = (story[name] for name in ("kim", "lee", "first", "second"))
    create, update = ("user.create", first["id"]), ("user.update", first["id"])
    other = ("user.create", second["id"])
    cases: list[tuple[dict[str, str], list[tuple[str, int]]]] = [
        ({"actor": str(kim.user_id)}, [update, create]),
        ({"actor": str(lee.user_id)}, [other]),
        ({"actor": str(kim.user_id), "action": "user.create"}, [create]),
        ({"action": "user.update"}, [update]),
        ({"target_type": "user", "target_id": str(first["id"])}, [update, create]),
        ({"trace_id": story["trace_id"]}, [update]),
        ({"trace_id": story["trace_id"].upper()}, [update]),
        ({"trace_id": "0" * 32}, []),
        ({"actor": "nobody"}, []),
        ({"actor": "' OR 1=1 --"}, []),
        ({"actor": "kim"}, [update, create]),
        ({"action": "user.*", "actor": "kim"}, [update, create]),
        ({"action": "*.update"}, [update]),
        ({"field": "full_name", "action": "*.update"}, [update]),
        ({"action": "user.*", "outcome": "failure"}, []),
        ({"actor": "kim", "since": "2000-01-01"}, [update, create]),
        ({"action": "user.*", "until": "2000-01-01T00:00:00Z"}, []),
        ({"request_id": story["request_id"]}, [update]),
        ({"text": '"new":"First"'}, []),
        ({"text": "patch", "action": "user.update"}, [update]),
        ({"text": "first", "action": "user.update"}, []),  # an erasable value is not in the text
        ({"on_behalf_of": "kim"}, []),
        ({"tenant": "north"}, []),
        ({"action": "user.*", "actor!": "test", "action!": "*.update"}, [other, create]),
        ({"action": "user.*", "actor!": "lee", "field!": "username"}, [update]),
        ({"action": "user.*", "not_actor": "lee", "not_field": "username"}, [update]),
        ({"target_type": "user", "actor": "test", "action": "api_key.create"}, []),
    ]
    found = [
        (wanted, [(e["action"], int(e["target"]["id"])) for e in kim.events(**wanted)])
        for wanted, _ in cases
    ]
    assert found == cases


IMPOSSIBLE = {
    "action=user.%25": "Invalid action 'user.%'",
    "action=user": "Invalid action 'user': expected `type.verb`, such as user.update or user.*",
    "outcome=good": "Invalid outcome 'good'",
    "since=noon": "since must be a time",
    "since=0001-01-01T00:00%2B01:00": "since must be a time",
    "since=2026-01-02&until=2026-01-01": "no event can match",
    "actor_label=kim": "Unknown parameter 'actor_label': expected one of actor,",
    "since!=2026-01-01": "Unknown parameter 'since!'",
    "outcome=success&outcome!=success": "outcome is excluded",
}


@ONE_DATABASE
@pytest.mark.parametrize("query", IMPOSSIBLE)
def test_a_filter_that_no_event_can_pass_is_refused(service: RunningService, query: str) -> None:
    """With a sentence, and not with an empty list."""
    refused = problem(service.caller()("GET", f"/v1/audit-events?{query}"))
    assert (400, True) == (
        refused["status"],
        IMPOSSIBLE[query].lower() in refused["detail"].lower(),
    )


def test_parameter_of_a_route_that_takes_none_is_refused(service: RunningService) -> None:
    """The message says that there are none."""
    refused = problem(service.caller()("GET", "/v1/checkpoints/latest?limit=1"))
    assert (400, "Unknown parameter 'limit': this route takes none.") == (
        refused["status"],
        refused["detail"],
    )


def test_newest_first_in_pages(service: RunningService) -> None:
    """Pages go back in time; events that come meanwhile move nothing, and filters stay in Link."""
    kim = service.caller()
    for number in range(5):
        kim.create(username=f"user{number}")
    wanted = "/v1/audit-events?action=user.create&limit=2"

    first = kim("GET", wanted)
    kim.create(username="late")
    seen = [event["changes"]["username"]["new"] for event in first.get_json()["items"]]
    response = first
    while "Link" in response.headers:
        link = response.headers["Link"]
        assert link.startswith(f"<{wanted}&cursor=")
        response = kim("GET", link.removeprefix("<").partition(">")[0])
        seen += [event["changes"]["username"]["new"] for event in response.get_json()["items"]]
    assert seen == ["user4", "user3", "user2", "user1", "user0", "tester"]
    assert response.get_json()["next"] is None


def test_reading_leaves_no_row(story: dict[str, Any], service: RunningService) -> None:
    """To read the trail changes nothing in it."""
    before = service.tables()
    story["kim"].events()
    assert service.tables() == before


def first_cursor(kim: Caller, path: str) -> str:
    """The cursor of the second page."""
    cursor: str = kim("GET", path).get_json()["next"]
    assert cursor
    return cursor


OTHER_LISTS = [
    "/v1/audit-events?",
    "/v1/audit-events?action=user.update&",
    "/v1/audit-events?action=user.create&actor=nobody&",
    "/v1/audit-events?target_type=user.create&",
    "/v1/users?",
]


@ONE_DATABASE
@pytest.mark.parametrize("path", OTHER_LISTS)
def test_cursor_is_bound_to_its_list_and_filters(service: RunningService, path: str) -> None:
    """A cursor of one search is refused by every other."""
    kim = service.caller()
    for number in range(3):
        kim.create(username=f"user{number}")
    cursor = first_cursor(kim, "/v1/audit-events?action=user.create&limit=1")
    refused = kim("GET", f"{path}cursor={cursor}")
    assert 400 == problem(refused)["status"]
    assert "and these filters" in refused.get_json()["detail"]


def test_cursor_that_was_changed_is_refused(service: RunningService) -> None:
    """Another position under the signature of a genuine cursor is no cursor."""
    kim = service.caller()
    kim.create(username="lee")
    genuine = base64.urlsafe_b64decode(first_cursor(kim, "/v1/audit-events?limit=1") + "==")
    position, _, signature = genuine.decode().partition(":")
    for forged in (f"{int(position) + 1}:{signature}", f"events:{position}", position):
        cursor = base64.urlsafe_b64encode(forged.encode()).decode().rstrip("=")
        assert 400 == kim("GET", f"/v1/audit-events?cursor={cursor}").status_code


def test_cursor_with_a_flipped_bit_is_refused(service: RunningService) -> None:
    """Whichever bit of whichever character is another, the answer is 400."""
    kim = service.caller()
    kim.create(username="lee")
    cursor = first_cursor(kim, "/v1/audit-events?limit=1").encode()
    flipped = [
        cursor[:place] + bytes([cursor[place] ^ 1 << place % 7]) + cursor[place + 1 :]
        for place in range(len(cursor))
    ]
    answers = [kim("GET", "/v1/audit-events", query_string={"cursor": one}) for one in flipped]
    assert {400} == {answer.status_code for answer in answers}


def test_cursor_survives_another_limit_and_spelling_of_the_trace_id(
    service: RunningService,
) -> None:
    """What does not change which events fit does not change the cursor."""
    kim, max_ = service.caller(), service.caller(username="max")
    kim("DELETE", f"/v1/users/{max_.user_id}", headers={"If-Match": "*"})  # with its key: two rows
    trace_id = kim.events()[0]["trace_id"]
    cursor = first_cursor(kim, f"/v1/audit-events?trace_id={trace_id}&limit=1")
    path = f"/v1/audit-events?trace_id={trace_id.upper()}&limit=7&cursor={cursor}"
    assert 1 == len(kim("GET", path).get_json()["items"])


def test_cursor_outlives_a_rotation_of_the_mac_key(settings: Settings) -> None:
    """A cursor that was signed with an earlier key of the file is good after a restart."""
    with running_service(settings) as before:
        kim = before.caller()
        cursor = first_cursor(kim, "/v1/audit-events?limit=1")
    rotate_mac_key(settings.mac_key_file)
    with running_service(settings) as after:
        again = Caller(app=after.app, key=kim.key, user_id=kim.user_id)
        assert 200 == again("GET", f"/v1/audit-events?cursor={cursor}").status_code


def test_the_command_has_the_same_filters(story: dict[str, Any], settings: Settings) -> None:
    """`auditspan events` finds what the route finds, and refuses what it refuses."""
    environ = {"AUDITSPAN_DATABASE_URL": settings.database_url}

    def run(*options: str) -> Result:
        return CliRunner().invoke(main, ["events", *options, "--json"], env=environ)

    for name, option, value in (
        ("actor", "--actor", "kim"),
        ("action", "--action", "user.u*"),
        ("field!", "--not-field", "full_name"),
    ):
        found = run(option, value).stdout.splitlines()
        asked = [event["event_id"] for event in story["kim"].events(**{name: value})]
        assert (name, asked) == (name, [json.loads(line)["event_id"] for line in found][::-1])
    assert (2, True) == ((done := run("--since", "noon")).exit_code, "2026-01-31" in done.stderr)
    assert 2 == run("--actor", "kim", "--not-actor", "kim").exit_code
    assert (2, True) == ((done := run("--action", "a b")).exit_code, "type.verb" in done.stderr)
