"""Requests at the same moment, on PostgreSQL, where they really run at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from sqlalchemy import Connection, event
from werkzeug.test import TestResponse

from support.patience import PATIENCE
from support.service import Caller, RunningService, problem

Send = Callable[[], TestResponse]


def together(service: RunningService, verb: str, *sends: Send) -> list[TestResponse]:
    """The responses to requests that all stand before their first `verb` statement at once."""
    barrier = Barrier(len(sends), timeout=PATIENCE)

    def wait(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(verb):
            barrier.wait()

    engine = service.services.database.engine
    event.listen(engine, "before_cursor_execute", wait)
    try:
        with ThreadPoolExecutor(len(sends)) as pool:
            return list(pool.map(lambda send: send(), sends))
    finally:
        event.remove(engine, "before_cursor_execute", wait)


def statuses(responses: list[TestResponse]) -> list[int]:
    """Their status codes, sorted; those of errors belong to problem documents."""
    for response in responses:
        if response.status_code >= 400:
            problem(response)
    return sorted(response.status_code for response in responses)


def patch(kim: Caller, path: str, name: str, tag: str = '"1"') -> Send:
    """A change of the full name."""
    return lambda: kim("PATCH", path, json={"full_name": name}, headers={"If-Match": tag})


def test_two_changes_of_one_version(postgresql_service: RunningService) -> None:
    """Both have read version 1: one changes it, the other is told that it is stale."""
    service, kim = postgresql_service, postgresql_service.caller()
    path = f"/v1/users/{kim.create(username='lee')['id']}"

    responses = together(service, "UPDATE users", patch(kim, path, "A"), patch(kim, path, "B"))

    assert statuses(responses) == [200, 412]
    (winner,) = [r.get_json() for r in responses if r.status_code == 200]
    assert kim("GET", path).get_json() == winner
    updates = [body for body in service.bodies() if body["action"] == "user.update"]
    assert [body["changes"]["full_name"] for body in updates] == [
        {"old": None, "new": winner["full_name"]}
    ]


def test_two_changes_of_any_version(postgresql_service: RunningService) -> None:
    """`If-Match: *` does not make a change on a version that was never read."""
    service, kim = postgresql_service, postgresql_service.caller()
    path = f"/v1/users/{kim.create(username='lee')['id']}"
    responses = together(
        service, "UPDATE users", patch(kim, path, "A", "*"), patch(kim, path, "B", "*")
    )
    assert statuses(responses) == [200, 412]


def test_change_and_deletion(postgresql_service: RunningService) -> None:
    """Of a change and a deletion of one version one happens."""
    service, kim = postgresql_service, postgresql_service.caller()
    path = f"/v1/users/{kim.create(username='lee')['id']}"
    before = len(service.bodies())

    def delete() -> TestResponse:
        return kim("DELETE", path, headers={"If-Match": '"1"'})

    with ThreadPoolExecutor(2) as pool:
        responses = [
            future.result() for future in map(pool.submit, (patch(kim, path, "A"), delete))
        ]
    codes = tuple(response.status_code for response in responses)
    assert codes in {(200, 412), (412, 204), (404, 204)}
    assert len(service.bodies()) == before + 1


def test_two_deletions(postgresql_service: RunningService) -> None:
    """Of two deletions one happens, and the other finds nothing."""
    service, kim = postgresql_service, postgresql_service.caller()
    path = f"/v1/users/{service.caller(username='lee').user_id}"

    def delete() -> TestResponse:
        return kim("DELETE", path, headers={"If-Match": '"1"'})

    assert statuses(together(service, "SELECT users", delete, delete)) == [204, 404]
    deleted = Counter(body["action"] for body in service.bodies())
    assert (deleted["user.delete"], deleted["api_key.delete"]) == (1, 1)


def test_two_of_one_name(postgresql_service: RunningService) -> None:
    """Of two users with one name one is made, the other is a 409 without a row."""
    service, kim = postgresql_service, postgresql_service.caller()
    before = len(service.bodies())

    def create() -> TestResponse:
        return kim("POST", "/v1/users", json={"username": "lee"})

    assert statuses(together(service, "INSERT INTO users", create, create)) == [201, 409]
    assert len(service.bodies()) == before + 1


def test_many_writers_of_one_user(service: RunningService) -> None:
    """Forty writers who read, change and try again make forty versions, and no error but 412."""
    kim = service.caller()
    path = f"/v1/users/{kim.create(username='lee')['id']}"
    writers, rounds = 4, 10

    def write(writer: int) -> set[int]:
        seen = set()
        for number in range(rounds):
            done = False
            while not done:
                tag = kim("GET", path).headers["ETag"]
                code = patch(kim, path, f"{writer} {number}", tag)().status_code
                seen.add(code)
                done = code == 200
        return seen

    with ThreadPoolExecutor(writers) as pool:
        seen = set().union(*pool.map(write, range(writers)))
    assert seen <= {200, 412}
    assert kim("GET", path).get_json()["version"] == 1 + writers * rounds

    names = [
        body["changes"]["full_name"] for body in service.bodies() if body["action"] == "user.update"
    ]
    assert len(names) == writers * rounds
    assert [change["old"] for change in names] == [None, *(change["new"] for change in names[:-1])]
