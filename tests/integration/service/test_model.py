"""Random sequences of requests: a model in memory, the API, and a replay of the trail agree."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from auditspan.verify import check_state
from auditspan_service.models import Base
from support.service import Caller, RunningService, running_service, settings_at

SEQUENCES = [20, pytest.param(300, marks=pytest.mark.slow)]
NAMES = st.sampled_from(["kim", "lee", "zoë", "=1+1", "a" * 40])
TEXTS = st.none() | st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, categories=("L", "N", "P", "S")),
    min_size=1,
    max_size=30,
)
MEMBERS = ("username", "email", "full_name", "active")

_machines = count()


@pytest.fixture
def service(tmp_path: Path, sqlite_url: str) -> Iterator[RunningService]:
    """The service without a limit on the number of requests."""
    with running_service(settings_at(tmp_path / "data", sqlite_url, rate_limit="off")) as running:
        yield running


class Accounts(RuleBasedStateMachine):
    """Users that one client adds, changes and deletes; names are those of this sequence only."""

    caller: Caller

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[int, dict[str, Any]] = {}
        self.versions: dict[int, int] = {}
        self.gone: set[int] = set()
        self.prefix = ""

    @initialize()
    def begin(self) -> None:
        """Choose a prefix, so that sequences do not meet."""
        self.prefix = f"{next(_machines)}-"

    @rule(name=NAMES, full_name=TEXTS, active=st.booleans())
    def add(self, name: str, full_name: str | None, active: bool) -> None:  # noqa: FBT001 (drawn)
        """Add a user; 409 if the name is taken."""
        username = self.prefix + name
        given = {"username": username, "full_name": full_name, "active": active}
        answer = self.caller("POST", "/v1/users", json=given)
        if self._is_taken(username, but=None):
            assert 409 == answer.status_code
            return
        assert 201 == answer.status_code, answer.text
        user = answer.get_json()
        self.model[user["id"]] = {"email": None, **given}
        self.versions[user["id"]] = 1

    @rule(number=st.integers(0, 9), name=NAMES, full_name=TEXTS, late=st.booleans())
    def change(self, number: int, name: str, full_name: str | None, late: bool) -> None:  # noqa: FBT001
        """Change a user; 412 with an old version, 409 if the name is taken."""
        given = {"username": self.prefix + name, "full_name": full_name}
        self._change(number, given, late=late)

    @rule(number=st.integers(0, 9), active=st.booleans())
    def activate(self, number: int, active: bool) -> None:  # noqa: FBT001 (drawn)
        """Change one member, perhaps to the value that it has."""
        self._change(number, {"active": active}, late=False)

    @rule(number=st.integers(0, 9), late=st.booleans())
    def delete(self, number: int, late: bool) -> None:  # noqa: FBT001 (drawn)
        """Delete a user; 412 with an old version."""
        if not self.model:
            return
        user_id = self._chosen(number)
        answer = self.caller("DELETE", f"/v1/users/{user_id}", headers=self._match(user_id, late))
        if late:
            assert 412 == answer.status_code
            return
        assert 204 == answer.status_code
        del self.model[user_id]
        self.gone.add(user_id)

    @rule(number=st.integers(0, 9))
    def read_deleted(self, number: int) -> None:
        """A deleted user is not found, and cannot be changed."""
        if self.gone:
            path = f"/v1/users/{sorted(self.gone)[number % len(self.gone)]}"
            assert 404 == self.caller("GET", path).status_code
            given = {"json": {"active": True}, "headers": {"If-Match": "*"}}
            assert 404 == self.caller("PATCH", path, **given).status_code

    def teardown(self) -> None:
        """Compare the model with the API, and with a replay of the trail."""
        found = {one: self._read(one) for one in self.model}
        assert self.model == found
        replayed = {one: self._replayed(one) for one in {*self.model, *self.gone}}
        assert self.model | dict.fromkeys(self.gone) == replayed

    def _change(self, number: int, given: dict[str, Any], *, late: bool) -> None:
        if not self.model:
            return
        user_id = self._chosen(number)
        headers = self._match(user_id, late)
        answer = self.caller("PATCH", f"/v1/users/{user_id}", json=given, headers=headers)
        if late:
            assert 412 == answer.status_code
        elif self._is_taken(given.get("username"), but=user_id):
            assert 409 == answer.status_code
        else:
            assert 200 == answer.status_code, answer.text
            is_new = self.model[user_id] != self.model[user_id] | given
            self.model[user_id] |= given
            self.versions[user_id] += is_new
            assert f'"{self.versions[user_id]}"' == answer.headers["ETag"]

    def _is_taken(self, username: str | None, *, but: int | None) -> bool:
        return any(
            one["username"] == username for user_id, one in self.model.items() if user_id != but
        )

    def _chosen(self, number: int) -> int:
        return sorted(self.model)[number % len(self.model)]

    def _match(self, user_id: int, late: bool) -> dict[str, str]:  # noqa: FBT001
        return {"If-Match": f'"{self.versions[user_id] - late}"'}

    def _read(self, user_id: int) -> dict[str, Any]:
        user = self.caller("GET", f"/v1/users/{user_id}").get_json()
        return {name: user[name] for name in MEMBERS}

    def _replayed(self, user_id: int) -> dict[str, Any] | None:
        """The user as the events about it say, or None after its deletion."""
        state: dict[str, Any] | None = None
        history = self.caller("GET", f"/v1/history/user/{user_id}").get_json()
        for event in history["items"]:
            state = None if event["action"] == "user.delete" else {**(state or {})}
            if state is not None:
                state |= {name: one["new"] for name, one in event["changes"].items()}
        return state and {name: state[name] for name in MEMBERS}


@pytest.mark.parametrize("sequences", SEQUENCES)
def test_model_and_api_and_trail_agree(service: RunningService, sequences: int) -> None:
    """After every sequence; at the end, the whole trail replays to the live tables."""

    class Machine(Accounts):
        caller = service.caller()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
    with service.services.database.engine.connect() as connection:
        report = check_state(connection, service.services.trail.tables, Base.metadata)
    assert (True, []) == (report.ok, report.differences)
    assert report.events > sequences
