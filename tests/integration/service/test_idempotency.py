"""`Idempotency-Key`: repeats of a request create nothing, however many and however parallel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from auditspan_service.models import IdempotencyKey, utc_now
from support.service import Caller, RunningService, problem

KIM = {"username": "kim", "email": "kim@example.org"}
NAME = "Idempotency-Key"
ONCE = {NAME: "8e03978e-40d5-43dd-bc93-6894a57f9324"}
PARALLEL = 50


def create(caller: Caller, body: dict[str, str] = KIM, key: str = ONCE[NAME]) -> Any:
    """Add a user with an Idempotency-Key."""
    return caller("POST", "/v1/users", json=body, headers={NAME: key})


def created(service: RunningService, type_: str) -> int:
    """The number of events that record a creation."""
    return sum(body["action"] == f"{type_}.create" for body in service.bodies())


def test_repeat_is_answered_with_the_same_object(service: RunningService) -> None:
    """The first answer is 201, a repeat 200 with the user as it is now; there is one event."""
    caller = service.caller()
    before = created(service, "user")
    first, second = create(caller), create(caller)
    assert (201, 200) == (first.status_code, second.status_code)
    assert first.get_json() == second.get_json()
    assert first.headers["Location"] == second.headers["Location"]
    path, match = first.headers["Location"], {"If-Match": first.headers["ETag"]}
    caller("PATCH", path, json={"full_name": "Kim Park"}, headers=match)
    assert "Kim Park" == create(caller).get_json()["full_name"]
    assert before + 1 == created(service, "user")


def test_parallel_repeats_make_one_change(service: RunningService) -> None:
    """Fifty at once: one creates the user, the others are answered with it; there is one event."""
    caller = service.caller()
    before = created(service, "user")
    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(lambda _: create(caller), range(PARALLEL)))
    assert [200] * (PARALLEL - 1) + [201] == sorted(one.status_code for one in answers)
    assert 1 == len({one.get_json()["id"] for one in answers})
    assert before + 1 == created(service, "user")


@pytest.mark.parametrize("path", ["/v1/users/{user}/keys", "/v1/keys/{key}/rotation"])
def test_repeat_issues_no_second_key(service: RunningService, path: str) -> None:
    """The text of the key is in the first answer only, because it is not stored."""
    caller = service.caller()
    user = create(caller).get_json()
    caller("PUT", f"/v1/users/{user['id']}/roles/writer")
    issue = {"scopes": ["audit:write"]}
    key = caller("POST", f"/v1/users/{user['id']}/keys", json=issue).get_json()
    body = issue if path.endswith("keys") else {"overlap_seconds": 60}
    place = path.format(user=user["id"], key=key["id"])
    before = created(service, "api_key")
    first, second = (caller("POST", place, json=body, headers={NAME: "1"}) for _ in range(2))
    assert (201, 200) == (first.status_code, second.status_code)
    assert {"key"} == first.get_json().keys() - second.get_json().keys()
    assert first.get_json()["id"] == second.get_json()["id"] != key["id"]
    assert before + 1 == created(service, "api_key")


def test_key_of_another_request_is_refused(service: RunningService) -> None:
    """Another body or path with the same key is 422, and nothing is created."""
    caller = service.caller()
    user = create(caller).get_json()
    before = created(service, "user")
    other = problem(create(caller, {"username": "lee"}))
    assert (422, "/problems/idempotency-key-reused") == (other["status"], other["type"])
    keys = f"/v1/users/{user['id']}/keys"
    refused = problem(caller("POST", keys, json={"scopes": ["audit:read"]}, headers=ONCE))
    assert "/problems/idempotency-key-reused" == refused["type"]
    assert before == created(service, "user")


def test_key_belongs_to_its_user(service: RunningService) -> None:
    """Two users may choose the same key."""
    first = create(service.caller(username="one"), {"username": "kim"})
    second = create(service.caller(username="two"), {"username": "lee"})
    assert (201, 201) == (first.status_code, second.status_code)


def test_refused_request_leaves_no_claim(service: RunningService) -> None:
    """After a conflict is resolved, the same request with the same key succeeds."""
    caller = service.caller()
    taken = caller.create(username="kim")
    assert 409 == create(caller).status_code
    caller("DELETE", f"/v1/users/{taken['id']}", headers={"If-Match": "*"})
    assert 201 == create(caller).status_code


def test_repeat_after_the_object_was_deleted_is_not_found(service: RunningService) -> None:
    """The object is not created again."""
    caller = service.caller()
    user = create(caller).get_json()
    caller("DELETE", f"/v1/users/{user['id']}", headers={"If-Match": "*"})
    assert "/problems/not-found" == problem(create(caller))["type"]


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
def test_malformed_key_is_refused(service: RunningService, key: str) -> None:
    """400 says what a key may be, and nothing is created."""
    refused = problem(create(service.caller(), key=key))
    expected = "Idempotency-Key must have 1 to 255 printable ASCII characters."
    assert (400, expected) == (refused["status"], refused["detail"])


def test_claim_is_forgotten_after_a_day(service: RunningService) -> None:
    """An old claim is removed by the next request with a key; until then it has hashes only."""
    caller = service.caller()
    create(caller)
    with service.services.database.writing() as session:
        (row,) = session.execute(select(IdempotencyKey.__table__)).all()
        old = utc_now() - timedelta(days=1, seconds=1)
        session.execute(update(IdempotencyKey).values(created_at=old))
    assert (64, 64) == (len(row.key_hash), len(row.request_hash))
    assert not {*KIM.values(), *ONCE.values()} & {*map(str, row)}
    assert "/problems/duplicate" == problem(create(caller))["type"]  # a new request, no repeat
    assert 201 == create(caller, {"username": "lee"}).status_code
    with service.services.database.reading() as session:
        assert 1 == len(session.scalars(select(IdempotencyKey)).all())
