"""`/v1/users`: shapes, versions, and the one row that each change leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from support.service import Caller, RunningService, problem


def about(body: dict[str, Any]) -> dict[str, Any]:
    """What a body says of the act itself."""
    return {name: body[name] for name in ("action", "outcome", "actor", "target", "changes")}


def test_life_of_a_user(service: RunningService) -> None:
    """Create, change and delete leave one row each, with every changed column as it is stored."""
    kim = service.caller()
    actor = {"type": "user", "id": str(kim.user_id), "label": "tester"}
    before = len(service.bodies())

    created = kim("POST", "/v1/users", json={"username": "lee", "email": "lee@example.org"})
    user = created.get_json()
    path = f"/v1/users/{user['id']}"
    changed = kim(
        "PATCH", path, json={"full_name": "Lee", "email": None}, headers={"If-Match": '"1"'}
    )
    deleted = kim("DELETE", path, headers={"If-Match": '"2"'})

    assert [r.status_code for r in (created, changed, deleted)] == [201, 200, 204]
    assert (created.headers["Location"], created.headers["ETag"]) == (path, '"1"')
    assert changed.headers["ETag"] == '"2"'
    assert deleted.data == b""
    assert kim("GET", path).status_code == 404

    target = {"type": "user", "id": str(user["id"])}
    created_at = user["created_at"]
    if service.services.settings.is_embedded:
        created_at = created_at.removesuffix("Z")  # SQLite stores no time zone
    rows = service.bodies()[before:]
    assert [about(row) for row in rows] == [
        {
            "action": "user.create",
            "outcome": "success",
            "actor": actor,
            "target": {**target, "version": 1},
            "changes": {
                "id": {"new": user["id"]},
                "username": {"new": "lee"},
                "email": {"new": "lee@example.org"},
                "full_name": {"new": None},
                "active": {"new": True},
                "created_at": {"new": created_at},
            },
        },
        {
            "action": "user.update",
            "outcome": "success",
            "actor": actor,
            "target": {**target, "version": 2},
            "changes": {
                "full_name": {"old": None, "new": "Lee"},
                "email": {"old": "lee@example.org", "new": None},
            },
        },
        {
            "action": "user.delete",
            "outcome": "success",
            "actor": actor,
            "target": {**target, "version": 2},
            "changes": {
                "id": {"old": user["id"]},
                "username": {"old": "lee"},
                "email": {"old": None},
                "full_name": {"old": "Lee"},
                "active": {"old": True},
                "created_at": {"old": created_at},
            },
        },
    ]


def test_row_names_its_request(service: RunningService) -> None:
    """A row carries the request's id, route, method, client and trace, and joins on its span."""
    kim = service.caller()
    response = kim(
        "POST",
        "/v1/users",
        json={"username": "lee"},
        headers={"X-Request-ID": "abc-1", "User-Agent": "tests/1"},
    )

    row = service.bodies()[-1]
    assert row["request"] == {
        "id": "abc-1",
        "client_address": "127.0.0.1",
        "user_agent": "tests/1",
        "method": "POST",
        "route": "/v1/users",
    }
    _, trace_id, span_id, _ = response.headers["traceresponse"].split("-")
    assert (row["trace_id"], row["span_id"]) == (trace_id, span_id)
    (server,) = [span for span in service.spans() if span.name == "POST /v1/users"]
    assert [event.name for event in server.events] == ["audit.user.create"]


def test_shape(service: RunningService) -> None:
    """A user has exactly the designed members, in their order."""
    user = service.caller().create(username="lee")
    assert list(user) == [
        *("id", "username", "email", "full_name", "active"),
        *("created_at", "updated_at", "version"),
    ]
    created_at = datetime.fromisoformat(user["created_at"])
    assert created_at.tzinfo == UTC
    assert user == {
        "id": user["id"],
        "username": "lee",
        "email": None,
        "full_name": None,
        "active": True,
        "created_at": user["created_at"],
        "updated_at": user["created_at"],
        "version": 1,
    }


def test_patch_that_changes_nothing(service: RunningService) -> None:
    """A PATCH to what is there already keeps version and ETag and leaves no row."""
    kim = service.caller()
    user = kim.create(username="lee", full_name="Lee")
    before = service.tables()

    for members in ({}, {"full_name": "Lee"}, {"username": "lee", "active": True}):
        response = kim(
            "PATCH", f"/v1/users/{user['id']}", json=members, headers={"If-Match": '"1"'}
        )
        assert (response.status_code, response.headers["ETag"]) == (200, '"1"')
        assert response.get_json() == user
    assert service.tables() == before


def test_etag_life(service: RunningService) -> None:
    """The ETag of a GET opens the change; after it the old one is stale and the new one is not."""
    kim = service.caller()
    path = f"/v1/users/{kim.create(username='lee')['id']}"
    first = kim("GET", path).headers["ETag"]

    same = kim("GET", path, headers={"If-None-Match": first})
    assert (same.status_code, same.headers["ETag"], same.data) == (304, first, b"")

    change = {"json": {"full_name": "Lee"}}
    second = kim("PATCH", path, **change, headers={"If-Match": first}).headers["ETag"]
    assert kim("GET", path, headers={"If-None-Match": first}).status_code == 200
    stale = problem(kim("PATCH", path, json={"full_name": "L"}, headers={"If-Match": first}))
    assert (stale["status"], stale["type"]) == (412, "/problems/stale")
    assert problem(kim("DELETE", path, headers={"If-Match": first}))["status"] == 412
    assert problem(kim("DELETE", path, headers={"If-Match": f"W/{second}"}))["status"] == 412
    listed = kim("DELETE", path, headers={"If-Match": f"{first}, {second}"})
    assert listed.status_code == 204


def test_star_matches_any_version(service: RunningService) -> None:
    """`If-Match: *` changes whatever is there, and nothing that is not."""
    kim = service.caller()
    path = f"/v1/users/{kim.create(username='lee')['id']}"
    star = {"If-Match": "*"}
    assert kim("PATCH", path, json={"active": False}, headers=star).status_code == 200
    assert kim("DELETE", path, headers=star).status_code == 204
    assert problem(kim("DELETE", path, headers=star))["status"] == 404


def test_merge_patch_media_type(service: RunningService) -> None:
    """A PATCH may call itself what it is: application/merge-patch+json."""
    kim = service.caller()
    path = f"/v1/users/{kim.create(username='lee', full_name='Lee')['id']}"
    response = kim(
        "PATCH",
        path,
        data=b'{"full_name": null}',
        content_type="application/merge-patch+json",
        headers={"If-Match": "*"},
    )
    assert (response.status_code, response.get_json()["full_name"]) == (200, None)


def test_deleting_a_user_deletes_keys_one_by_one(service: RunningService) -> None:
    """With a user go the keys, each with its own row, before the user's, in one transaction."""
    kim = service.caller()
    lee = service.caller("users:read", username="lee")
    service.issue("users:read", username="lee")
    before = len(service.bodies())

    response = kim("DELETE", f"/v1/users/{lee.user_id}", headers={"If-Match": "*"})

    assert response.status_code == 204
    rows = service.bodies()[before:]
    assert sorted(row["action"] for row in rows) == [
        "api_key.delete",
        "api_key.delete",
        "user.delete",
    ]
    assert rows[-1]["action"] == "user.delete"
    assert len({row["tx_id"] for row in rows}) == 1
    assert lee("GET", "/v1/users").status_code == 401


def test_ids_are_not_used_again(service: RunningService) -> None:
    """A user who is deleted leaves an id that nobody else gets."""
    kim = service.caller()
    first = kim.create(username="lee")
    kim("DELETE", f"/v1/users/{first['id']}", headers={"If-Match": "*"})
    assert kim.create(username="lee")["id"] > first["id"]


def everyone(kim: Caller, limit: int) -> list[list[str]]:
    """The usernames page by page, following `next`, which Link repeats."""
    pages, path = [], f"/v1/users?limit={limit}"
    while path:
        response = kim("GET", path)
        page = response.get_json()
        assert list(page) == ["items", "next"]
        pages.append([user["username"] for user in page["items"]])
        assert ("Link" in response.headers) == (page["next"] is not None)
        path = f"/v1/users?limit={limit}&cursor={page['next']}" if page["next"] else ""
        if path:
            assert response.headers["Link"] == f'<{path}>; rel="next"'
    return pages


def test_pages(service: RunningService) -> None:
    """Following `next` shows every user once, by id, whatever the size of the pages."""
    kim = service.caller()
    names = [f"user{number}" for number in range(4)]
    for name in names:
        kim.create(username=name)
    everybody = ["tester", *names]

    assert everyone(kim, 2) == [everybody[0:2], everybody[2:4], everybody[4:]]
    assert everyone(kim, 5) == [everybody]
    assert everyone(kim, 4) == [everybody[:4], everybody[4:]]


def test_pages_hold_while_users_go(service: RunningService) -> None:
    """A cursor stays good when the user it stands behind is deleted."""
    kim = service.caller()
    users = [kim.create(username=f"user{number}") for number in range(4)]
    cursor = kim("GET", "/v1/users?limit=2").get_json()["next"]
    kim("DELETE", f"/v1/users/{users[0]['id']}", headers={"If-Match": "*"})

    rest = kim("GET", f"/v1/users?cursor={cursor}").get_json()
    assert [user["username"] for user in rest["items"]] == ["user1", "user2", "user3"]


def test_names_as_people_write_them(service: RunningService) -> None:
    """Letters of every script, a space inside, quotes and 50 characters are usernames."""
    kim = service.caller()
    for name in ("Zoë", "김민수", "محمد", 'O\'Brien "Bob"', "x" * 50, "🦉" * 50, "%_\\"):
        user = kim.create(username=name)
        assert kim("GET", f"/v1/users/{user['id']}").get_json()["username"] == name
        assert service.bodies()[-1]["changes"]["username"] == {"new": name}


COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


@pytest.mark.parametrize(("first", "second"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_names_that_unicode_calls_equal_are_one_user(
    service: RunningService, first: str, second: str
) -> None:
    """The same name with composed and with decomposed letters is taken by one user."""
    kim = service.caller()
    created = kim.create(username=first, full_name=first, email=f"{first}@example.org")
    assert (COMPOSED, COMPOSED) == (created["username"], created["full_name"])
    assert f"{COMPOSED}@example.org" == created["email"]
    assert 409 == kim("POST", "/v1/users", json={"username": second}).status_code
    other = kim.create(username="lee")
    path, headers = f"/v1/users/{other['id']}", {"If-Match": "*"}
    assert 409 == kim("PATCH", path, json={"username": second}, headers=headers).status_code


def test_key_is_given_to_the_user_of_either_form_of_a_name(service: RunningService) -> None:
    """A key for the decomposed name is one of the user with the composed name."""
    keys = [service.issue("users:read", username=name).key for name in (COMPOSED, DECOMPOSED)]
    assert 1 == len({key.user_id for key in keys})


def test_length_of_a_name_is_that_of_its_composed_form(service: RunningService) -> None:
    """50 letters with marks are a username, and 26 that become 52 characters are none."""
    kim = service.caller()
    assert "\u00eb" * 50 == kim.create(username="e\u0308" * 50)["username"]
    refused = kim("POST", "/v1/users", json={"username": "\ufb2c" * 26})
    assert 422 == refused.status_code
