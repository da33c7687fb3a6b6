"""Rate limits of keys and of clients that fail to authenticate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditspan.errors import SettingsError
from auditspan_service.api.limits import notes_on_limits
from auditspan_service.config import load_settings
from support.ports import free_port
from support.redis import running_redis
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


def test_processes_count_together_in_redis(tmp_path: Path, sqlite_url: str) -> None:
    """A key has one limit for two processes, and so has a client that fails to authenticate."""
    with running_redis(tmp_path, free_port()) as url:
        given = {"rate_limit": "4/hour", "failure_limit": "3/hour", "limit_storage": url}
        settings = settings_at(tmp_path / "data", sqlite_url, **given)
        with running_service(settings) as one, running_service(settings) as two:
            kim, lee = one.caller(username="kim"), one.caller(username="lee")
            elsewhere = replace(kim, app=two.app)
            answers = [each("GET", "/v1/users") for each in (kim, elsewhere) * 3]
            assert [200] * 4 + [429] * 2 == [each.status_code for each in answers]
            assert 0 < int(answers[-1].headers["Retry-After"]) <= 7200
            assert 200 == lee("GET", "/v1/users").status_code
            clients = [one.app.test_client(), two.app.test_client()] * 2
            failed = [client.get("/v1/users").status_code for client in clients]
            assert [401, 401, 401, 429] == failed


def test_process_counts_alone_while_redis_does_not_answer(
    tmp_path: Path, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests are answered and still limited, and one line says why."""
    port = free_port()
    given = {"rate_limit": "3/hour", "limit_storage": f"redis://127.0.0.1:{port}/0"}
    with running_service(settings_at(tmp_path / "data", sqlite_url, **given)) as service:
        kim = service.caller()
        with running_redis(tmp_path, port):
            assert 200 == kim("GET", "/v1/users").status_code
        answers = [kim("GET", "/v1/users").status_code for _ in range(4)]
        assert [200, 200, 200, 429] == answers
    lines = [one.getMessage() for one in caplog.records if "rate limits" in one.getMessage()]
    assert [
        "rate limits are counted by this process alone: redis.exceptions.ConnectionError"
    ] == lines


@pytest.mark.parametrize("storage", ["redis", "memcached://host", "hunter2"])
def test_invalid_storage_of_limits_is_refused_without_repeating_it(storage: str) -> None:
    """It may contain a password."""
    with pytest.raises(SettingsError, match="AUDITSPAN_LIMIT_STORAGE is invalid: exp") as refused:
        load_settings(limit_storage=storage)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "given", "said"),
    [
        ({}, {}, []),
        ({"WEB_CONCURRENCY": "3"}, {}, ["Each of the 3 processes"]),
        ({"GUNICORN_CMD_ARGS": "--workers=4 --threads 8"}, {}, ["Each of the 4 processes"]),
        ({"GUNICORN_CMD_ARGS": "-w 2"}, {}, ["Each of the 2 processes"]),
        ({"WEB_CONCURRENCY": "3"}, {"limit_storage": "redis://host"}, []),
        ({"WEB_CONCURRENCY": "3"}, {"rate_limit": "off", "failure_limit": "off"}, []),
    ],
)
def test_doctor_notes_that_processes_count_alone(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    given: dict[str, str],
    said: list[str],
) -> None:
    """Only if there are several, and a limit."""
    for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    notes = notes_on_limits(load_settings(**given))
    assert said == [note.partition(" of gunicorn")[0] for note in notes]
