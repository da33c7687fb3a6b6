"""Rows whose body is no audit event: every reader shows them, and goes on."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from auditspan.format.ids import uuid7
from auditspan_service.cli import main
from support.service import RunningService, running_service, settings_at

COLUMNS = (
    "recorded_at, event_id, occurred_at, actor_type, actor_id, action, outcome, target_type, "
    "target_id, tx_id, body"
)
INSERT = f"INSERT INTO audit_event ({COLUMNS}) VALUES ({{time}}, :id, {{time}}, 'user', '7', "  # noqa: S608 (no input)
INSERT += "'user.update', 'success', 'user', '1', 'tx', {body})"
GOOD: dict[str, Any] = {
    "action": "user.update",
    "actor": {"id": "7", "label": None, "type": "user"},
    "change_id": 1,
    "changes": {"email": {"new": "b", "old": "a"}},
    "event_id": "0",
    "metadata": {},
    "occurred_at": "2026-01-01T00:00:00.000000Z",
    "on_behalf_of": None,
    "outcome": "success",
    "reason": None,
    "request": None,
    "service": {"instance": None, "name": "shop", "version": None},
    "span_id": None,
    "target": {"id": "1", "type": "user", "version": None},
    "tenant": None,
    "trace_id": None,
    "tx_id": "tx",
    "v": 1,
}
ODD_ACTORS: list[object] = [None, [], "kim", {}, {"type": 1}]
ODD_CHANGE_IDS: list[object] = ["1", True, []]
ODD_TARGETS: list[object] = ["x", [], 1]
BODIES = [
    *("x", "", "[]", "{}", "null", '"text"', "1", "[" * 30_000, '{"a":' * 30_000, "9" * 5_000),
    *(json.dumps({**GOOD, "actor": actor}) for actor in ODD_ACTORS),
    *(json.dumps({**GOOD, "changes": one}) for one in (None, [1], {"a": 1}, {"a": {"old": 1e999}})),
    *(json.dumps({**GOOD, "target": target}) for target in ODD_TARGETS),
    *(json.dumps({**GOOD, "change_id": one}) for one in ODD_CHANGE_IDS),
    *(json.dumps({**GOOD, name: 1}) for name in ("action", "occurred_at", "outcome", "event_id")),
    json.dumps({**GOOD, "reason": "\ud800"}),
    json.dumps({**GOOD, "metadata": {"deep": json.loads("[" * 700 + "]" * 700)}}),
    json.dumps({name: value for name, value in GOOD.items() if name != "changes"}),
]


@pytest.fixture
def odd(service: RunningService) -> RunningService:
    """The service with a row for each odd body."""
    engine = service.services.database.engine
    for number, body in enumerate(BODIES):
        insert(engine, number, body=body)
    return service


def insert(engine: Engine, number: int, *, body: str, raw: str = ":body", time: str = "") -> None:
    """Write a row past the library; `raw` and `time` are SQL for its body and its times."""
    moment = time or (
        "'2026-01-01 00:00:00.000000'" if engine.dialect.name == "sqlite" else "'2026-01-01Z'"
    )
    statement = text(INSERT.format(time=moment, body=raw))
    values = {"id": event_id(number)} | ({"body": body} if raw == ":body" else {})
    with engine.begin() as connection:
        connection.execute(statement, values)


def event_id(number: int) -> str:
    """The id of the odd row of this number."""
    return str(uuid7(number, bytes(10)))


def run(service: RunningService, *arguments: str) -> Result:
    """A command on the database of the service."""
    settings = service.services.settings
    environ = {
        "AUDITSPAN_DATA_DIR": str(settings.mac_key_file.parent),
        "AUDITSPAN_DATABASE_URL": settings.database_url,
    }
    return CliRunner().invoke(main, arguments, env=environ, prog_name="auditspan")


def test_list_shows_unreadable_rows(odd: RunningService) -> None:
    """`GET /v1/audit-events` shows every odd row, and says why it cannot be read."""
    answer = odd.caller("audit:read")("GET", "/v1/audit-events?limit=200&target_id=1")
    items = answer.get_json()["items"]
    ids = {item["event_id"] for item in items if item.get("unreadable")}
    assert {event_id(number) for number in range(len(BODIES))} == ids


def test_unreadable_event_has_its_own_resource(odd: RunningService) -> None:
    """One odd event has the members of any other, from the plain columns."""
    answer = odd.caller("audit:read")("GET", f"/v1/audit-events/{event_id(0)}")
    nobody = dict.fromkeys(("name", "version", "instance"))
    expected = {
        **dict.fromkeys(GOOD),
        "event_id": event_id(0),
        "occurred_at": "2026-01-01T00:00:00.000000Z",
        "action": "user.update",
        "outcome": "success",
        "actor": {"type": "user", "id": "7", "label": None},
        "target": {"type": "user", "id": "1", "version": None},
        "changes": {},
        "metadata": {},
        "service": nobody,
        "tx_id": "tx",
        "seq": None,
        "recorded_at": "2026-01-01T00:00:00.000000Z",
        "delivered": False,
        "unreadable": "the body is not JSON",
    }
    assert expected == answer.get_json()


def test_events_command_shows_unreadable_rows(odd: RunningService) -> None:
    """`events` has a line for every odd row, with `unreadable` in place of the outcome."""
    done = run(odd, "events", "--limit", "500")
    lines = [line for line in done.stdout.splitlines() if "  unreadable  " in line]
    assert (0, len(BODIES)) == (done.exit_code, len(lines))


def test_events_command_prints_unreadable_rows_as_json(odd: RunningService) -> None:
    """`events --json` has an object for every odd row."""
    done = run(odd, "events", "--limit", "500", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert (0, len(BODIES)) == (done.exit_code, sum("unreadable" in one for one in found))


def test_show_command_shows_unreadable_rows(odd: RunningService) -> None:
    """`show` prints every odd row."""
    done = [run(odd, "show", event_id(number)) for number in range(len(BODIES))]
    assert {(0, True)} == {(one.exit_code, "unreadable" in one.stdout) for one in done}


def test_history_command_shows_unreadable_rows(odd: RunningService) -> None:
    """`history` says of every odd row of a thing that it cannot be read."""
    done = run(odd, "history", "user", "1")
    lines = [line for line in done.stdout.splitlines() if "    unreadable: " in line]
    assert (0, len(BODIES)) == (done.exit_code, len(lines))


def test_state_check_names_unreadable_rows(odd: RunningService) -> None:
    """`verify --state` ends with a report that has every odd row."""
    done = run(odd, "verify", "--state", "--json")
    differences = json.loads(done.stdout)["state"]["differences"]
    found = [one["kind"] for one in differences if one["table"] == "audit_event"]
    # What lacks members that a replay does not look at is an event for it.
    assert (1, True) == (done.exit_code, len(found) >= len(BODIES) - 10)


@pytest.mark.parametrize("raw", ["x'ff'", "CAST(x'ff' AS TEXT)", "42"])
def test_bodies_that_are_no_text_are_unreadable(tmp_path: Path, sqlite_url: str, raw: str) -> None:
    """A body of another type, or of invalid UTF-8, is shown as unreadable."""
    with running_service(settings_at(tmp_path / "data", sqlite_url)) as service:
        insert(service.services.database.engine, 0, body="", raw=raw)
        found = service.caller("audit:read")("GET", f"/v1/audit-events/{event_id(0)}").get_json()
    assert "unreadable" in found


@pytest.mark.parametrize("time", ["yesterday", "infinity", ""])
def test_times_that_are_none_are_shown(service: RunningService, time: str) -> None:
    """A time that no clock shows does not stop the list."""
    engine: Engine = service.services.database.engine
    if engine.dialect.name == "postgresql":
        time = "-infinity"
    insert(engine, 0, body="x", time=f"'{time}'")
    found = service.caller("audit:read")("GET", f"/v1/audit-events/{event_id(0)}").get_json()
    assert (time if time.startswith("-") else f"{time}Z") == found["recorded_at"]


def test_internal_error_of_a_command_is_exit_code_2(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that no one expected is a sentence and exit code 2, since 1 means a finding."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise RecursionError("secret")

    monkeypatch.setattr(import_module("auditspan.cli.commands.events"), "find_events", fail)
    done = run(service, "events")
    said = done.stderr.startswith("Error: Internal error (RecursionError in ")
    assert (2, True, False) == (done.exit_code, said, "secret" in done.stderr)
