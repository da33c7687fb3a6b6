"""Rate limits of keys and of clients that fail to authenticate."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditspan.errors import SettingsError
from auditspan_service.config import load_settings
from support.service import problem, running_service, settings_at


def test_key_with_too_many_requests_is_refused_for_a_while(tmp_path: Path, sqlite_url: str) -> None:
    """With Retry-After, and one event; another key is not concerned."""
    settings = settings_at(tmp_path / "data", sqlite_url, rate_limit="3/hour", record_access=True)
    with running_service(settings) as service:
        kim, lee = service.caller(username="kim"), service.caller(username="lee")
        answers = [kim("GET", "/v1/users") for _ in range(6)]
        assert [200, 200, 200, 429, 429, 429] == [one.status_code for one in answers]
        assert "/problems/too-many-requests" == problem(answers[3])["type"]
        assert 0 < int(answers[3].headers["Retry-After"]) <= 7200
        assert 200 == lee("GET", "/v1/users").status_code
        (recorded,) = [b for b in service.bodies() if b["action"] == "rate-limit.exceeded"]
        assert ("kim", "failure") == (recorded["actor"]["label"], recorded["outcome"])


def test_client_that_fails_too_often_is_refused_unless_its_key_is_valid(
    tmp_path: Path, sqlite_url: str
) -> None:
    """Also on the page for signing in; somebody else behind the same address gets in."""
    settings = settings_at(tmp_path / "data", sqlite_url, failure_limit="2/hour")
    with running_service(settings) as service:
        client, kim = service.app.test_client(), service.caller()
        assert [401, 401, 429] == [client.get("/v1/users").status_code for _ in range(3)]
        assert 200 == kim("GET", "/v1/users").status_code
        page = client.get("/sign-in").text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        form = {"csrf_token": token, "key": "ask_1_x"}
        assert 429 == client.post("/sign-in", data=form).status_code
        form["key"] = kim.key
        assert 302 == client.post("/sign-in", data=form).status_code


def test_limits_can_be_switched_off(tmp_path: Path, sqlite_url: str) -> None:
    """Then nothing is counted; anything but a limit is refused at the start."""
    given = {"rate_limit": "off", "failure_limit": "off"}
    with running_service(settings_at(tmp_path / "data", sqlite_url, **given)) as service:
        client = service.app.test_client()
        assert {401} == {client.get("/v1/users").status_code for _ in range(400)}
    with pytest.raises(SettingsError, match="AUDITSPAN_RATE_LIMIT is invalid: expected"):
        load_settings(rate_limit="many")
