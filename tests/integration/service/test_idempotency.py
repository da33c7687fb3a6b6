"""`Idempotency-Key`: a repeated POST creates nothing more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from auditspan_service.api.idempotency import KEPT
from auditspan_service.models import IdempotencyKey, utc_now
from support.service import Caller, RunningService, problem

REPEATS = 50


def post(caller: Caller, path: str, members: dict[str, Any], key: str = "k1") -> TestResponse:
    """A POST with an idempotency key."""
    return caller("POST", path, json=members, headers={"Idempotency-Key": key})


def remembered(service: RunningService) -> int:
    """The number of keys that are remembered."""
    with service.services.database.reading() as session:
        return session.scalar(select(func.count()).select_from(IdempotencyKey)) or 0


@pytest.mark.parametrize("kind", ["users", "keys"])
def test_fifty_parallel_repeats_are_one_change_and_one_event(
    service: RunningService, kind: str
) -> None:
    """Every answer names the same object."""
    kim = service.caller()
    path = "/v1/users" if kind == "users" else f"/v1/users/{kim.user_id}/keys"
    members = {"username": "lee"} if kind == "users" else {"scopes": ["admin"]}
    kim("PUT", f"/v1/users/{kim.user_id}/roles/admin")
    before = len(service.bodies())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(kim, path, members), range(REPEATS)))
    assert {201} == {answer.status_code for answer in answers}, answers[0].text
    assert 1 == len({answer.get_json()["id"] for answer in answers})
    assert 1 == len({answer.headers["Location"] for answer in answers})
    assert before + 1 == len(service.bodies())


def test_repeat_is_answered_with_the_present_user(service: RunningService) -> None:
    """With its present ETag, which a change requires."""
    kim = service.caller()
    first = post(kim, "/v1/users", {"username": "lee"})
    changed = kim(
        "PATCH", first.headers["Location"], json={"email": "l@x.org"}, headers={"If-Match": "*"}
    )
    again = post(kim, "/v1/users", {"username": "lee"})
    assert (201, changed.get_json()) == (again.status_code, again.get_json())
    assert '"2"' == again.headers["ETag"]


def test_only_the_first_answer_contains_the_text_of_a_key(service: RunningService) -> None:
    """It is stored nowhere; a rotation is repeated like a creation."""
    kim = service.caller()
    kim("PUT", f"/v1/users/{kim.user_id}/roles/admin")
    path = f"/v1/users/{kim.user_id}/keys"
    wanted: dict[str, Any] = {"scopes": ["admin"]}
    first, again = post(kim, path, wanted).get_json(), post(kim, path, wanted).get_json()
    assert first["key"].startswith("ask_")
    assert first | {"key": None} == again
    path, wanted = f"/v1/keys/{first['id']}/rotation", {"overlap_seconds": 60}
    one, two = (post(kim, path, wanted, "k2").get_json() for _ in range(2))
    assert one | {"key": None} == two


def test_key_of_another_request_is_refused(service: RunningService) -> None:
    """Another body, or another path; the same members in another order are the same body."""
    kim = service.caller()
    assert 201 == post(kim, "/v1/users", {"username": "lee", "email": "l@x.org"}).status_code
    same = post(kim, "/v1/users", {"email": "l@x.org", "username": "lee"})
    assert 201 == same.status_code
    refused = problem(post(kim, "/v1/users", {"username": "pat"}))
    assert (422, "/problems/idempotency-key-reused") == (refused["status"], refused["type"])
    other = post(kim, f"/v1/users/{same.get_json()['id']}/keys", {"scopes": []})
    assert 422 == other.status_code


def test_key_of_another_caller_is_another_key(service: RunningService) -> None:
    """Callers choose their keys without knowing of each other."""
    assert 201 == post(service.caller(), "/v1/users", {"username": "lee"}).status_code
    other = service.caller(username="other")
    assert 201 == post(other, "/v1/users", {"username": "pat"}).status_code


def test_failed_request_does_not_use_up_its_key(service: RunningService) -> None:
    """The name is taken; once it is free, the repeated request succeeds."""
    kim = service.caller()
    taken = kim.create(username="lee")
    assert 409 == post(kim, "/v1/users", {"username": "lee"}).status_code
    kim("DELETE", f"/v1/users/{taken['id']}", headers={"If-Match": "*"})
    assert 201 == post(kim, "/v1/users", {"username": "lee"}).status_code


def test_repeat_after_a_deletion_creates_nothing(service: RunningService) -> None:
    """Such a repeat is late, and not a wish for another user."""
    kim = service.caller()
    path = post(kim, "/v1/users", {"username": "lee"}).headers["Location"]
    kim("DELETE", path, headers={"If-Match": "*"})
    late = problem(post(kim, "/v1/users", {"username": "lee"}))
    assert (409, "/problems/already-executed") == (late["status"], late["type"])


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_malformed_key_is_refused(service: RunningService, key: str) -> None:
    """Nothing is created."""
    kim = service.caller()
    refused = problem(post(kim, "/v1/users", {"username": "lee"}, key))
    assert (400, "/problems/malformed-header") == (refused["status"], refused["type"])
    assert 0 == remembered(service)


def test_key_is_forgotten_after_a_day(service: RunningService) -> None:
    """The next request with any key removes it."""
    kim = service.caller()
    post(kim, "/v1/users", {"username": "lee"})
    post(kim, "/v1/users", {"username": "pat"}, "k2")
    with service.services.database.engine.begin() as connection:
        old = utc_now() - KEPT - timedelta(minutes=1)
        connection.execute(update(IdempotencyKey).values(created_at=old))
    assert 409 == post(kim, "/v1/users", {"username": "lee"}).status_code  # the name is taken
    assert 201 == post(kim, "/v1/users", {"username": "kay"}).status_code
    assert 1 == remembered(service)
