"""The stack under load while its parts are killed, and taken down and up again."""

from __future__ import annotations

import json
import time

import pytest

from containers.load import Load
from containers.proof import require_nothing_lost
from containers.stack import Stack
from support.relaying import wait_for

pytestmark = pytest.mark.timeout(1800)

BEFORE_SECONDS = 3
DEAD_SECONDS = 4
AFTER_SECONDS = 3


@pytest.mark.parametrize("victim", ["service", "worker", "collector", "postgres"])
def test_nothing_is_lost_when_a_part_is_killed_under_load(
    stack: Stack, api_key: str, victim: str
) -> None:
    """Killed with SIGKILL, gone for seconds, started again: every promise was kept."""
    with Load(stack.url, api_key, f"kill-{victim}") as load:
        time.sleep(BEFORE_SECONDS)
        stack.run("kill", "--signal", "KILL", victim)
        time.sleep(DEAD_SECONDS)
        stack.up()
        answered = len(load.acknowledged)
        time.sleep(AFTER_SECONDS)
        wait_for(lambda: len(load.acknowledged) > answered)  # somebody is served again
    if victim in {"worker", "collector"}:
        assert load.refused == 0, "requests do not depend on sealing and delivery"
    require_nothing_lost(stack, load, f"kill-{victim}")


@pytest.mark.parametrize("victim", ["service", "worker", "collector", "postgres"])
def test_sigterm_under_load_loses_nothing(stack: Stack, api_key: str, victim: str) -> None:
    """SIGTERM under load, well within the grace period, exit code 0; and nothing is lost."""
    with Load(stack.url, api_key, f"stop-{victim}") as load:
        time.sleep(BEFORE_SECONDS)
        stack.run("stop", victim)
        state = stack.inspect(victim)["State"]
        stack.up()
        time.sleep(AFTER_SECONDS)
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    require_nothing_lost(stack, load, f"stop-{victim}")


def test_the_logs_show_no_secret(stack: Stack, api_key: str) -> None:
    """Killed and stopped as they were: no password or key in any container's log or settings."""
    secrets = {*stack.secret_texts(), api_key, api_key.split("_", maxsplit=2)[2]}
    said = stack.run("logs", "--no-log-prefix").stdout
    known = [stack.inspect(name) for name in stack.run("config", "--services").stdout.split()]
    assert said != ""
    assert len(secrets) >= 7
    assert min(map(len, secrets)) >= 16, "a short text is found anywhere and proves nothing"
    shown = {
        place
        for text in secrets
        for place, where in (("logs", said), ("settings", json.dumps(known)))
        if text in where
    }
    assert shown == set()


def test_restarted_stack_resumes(stack: Stack, api_key: str) -> None:
    """`down` and `up` again: the same rows, the same key, the same trail, and the tour is true."""
    with Load(stack.url, api_key, "down") as load:
        time.sleep(BEFORE_SECONDS)
    before = stack.report("worker", "verify")["rows"]
    stack.down()
    stack.up()
    require_nothing_lost(stack, load, "down")
    assert stack.report("worker", "verify")["rows"] == before
    with Load(stack.url, api_key, "again") as again:
        time.sleep(BEFORE_SECONDS)
    assert again.refused == 0
    require_nothing_lost(stack, again, "again")
    assert stack.report("service", "tour")["ok"] is True
