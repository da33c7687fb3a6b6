"""Roles of users, and API keys that are made, rotated and revoked over the API."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import event

from auditspan.storage.dialects import DIALECTS
from auditspan.verify import check_state
from auditspan_service.accounts.api_keys import ParsedKey
from auditspan_service.accounts.key_cache import KeyCache
from auditspan_service.accounts.principals import Principal
from auditspan_service.accounts.scopes import ROLES
from auditspan_service.api import access
from auditspan_service.api.auth import GATE
from auditspan_service.cli import main
from auditspan_service.models import Base
from support.openapi import role_matrix
from support.relaying import wait_for
from support.roles import deployed_database
from support.service import Caller, RunningService, problem, running_service, settings_at


def holder(admin: Caller, *roles: str, scopes: list[str]) -> Caller:
    """A new user with these roles, and a key for these scopes that was made over the API."""
    user = admin.create(username=f"user {time.monotonic_ns()}")
    for role in roles:
        assert 204 == admin("PUT", f"/v1/users/{user['id']}/roles/{role}").status_code
    made = admin("POST", f"/v1/users/{user['id']}/keys", json={"scopes": scopes})
    assert made.status_code == 201, made.text
    return Caller(app=admin.app, key=made.get_json()["key"], user_id=user["id"])


def key_path(caller: Caller) -> str:
    """The path of the key of a caller."""
    return f"/v1/keys/{caller.key.split('_')[1]}"


def test_matrix_of_roles_cell_by_cell(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key with a role's scopes gets 403 exactly where the table has no `yes`, and an event."""
    monkeypatch.setattr(access, "_PERIOD", 0.0)
    settings = settings_at(tmp_path / "data", sqlite_url, record_access=True)
    with running_service(settings) as service:
        admin = service.caller(username="root")
        callers = [holder(admin, role, scopes=list(of)) for role, of in ROLES.items()]
        refused = []
        for row in role_matrix(service.app):
            _, operation, _, *cells, _ = (cell.strip(" `") for cell in row.split("|"))
            method, path = re.sub("{[^}]+}", "999", operation).split()
            answers = [caller(method, path).status_code for caller in callers]
            assert (row, [cell == "yes" for cell in cells]) == (row, [a != 403 for a in answers])
            refused += [c.user_id for c, a in zip(callers, answers, strict=True) if a == 403]
        assert 401 == service.app.test_client().get("/v1/users").status_code
        recorded = [one for one in service.bodies() if one["action"].endswith(".failure")]
        assert [*map(str, refused), None] == [one["actor"]["id"] for one in recorded]


def test_key_of_the_api_has_what_a_role_of_its_user_has(service: RunningService) -> None:
    """It loses its scopes with the role; no key gets a scope that no role has, or the caller."""
    admin = service.caller(username="root")
    lee = holder(admin, "auditor", scopes=["audit:read"])
    assert 200 == lee("GET", "/v1/audit-events").status_code
    keys = f"/v1/users/{lee.user_id}/keys"
    beyond = problem(admin("POST", keys, json={"scopes": ["audit:write"]}))
    assert (422, "scopes") == (beyond["status"], beyond["errors"][0]["field"])
    manager = service.caller("keys:write", username="manager")
    assert 403 == manager("POST", keys, json={"scopes": ["audit:read"]}).status_code
    assert 403 == manager("POST", f"{key_path(lee)}/rotation", json={}).status_code
    assert 403 == manager("DELETE", key_path(lee)).status_code
    assert 204 == admin("DELETE", f"/v1/users/{lee.user_id}/roles/auditor").status_code
    assert 403 == lee("GET", "/v1/audit-events").status_code
    assert {"roles"} == {*service.bodies()[-1]["changes"]}


def test_custom_role(service: RunningService) -> None:
    """It is made, changed at once for its users, and deleted when no user has it."""
    admin = service.caller(username="root")
    path, body = "/v1/roles/support", {"scopes": ["users:read", "audit:read"]}
    made = admin("PUT", path, json=body)
    assert made.status_code == 200, made.text
    assert (200, ["audit:read", "users:read"]) == (made.status_code, made.get_json()["scopes"])
    lee = holder(admin, "support", scopes=["audit:read", "users:read"])
    listed = lee("GET", "/v1/roles").get_json()["items"]
    assert ["admin", "auditor", "purger", "support", "writer"] == [one["name"] for one in listed]
    own = lee("GET", f"/v1/users/{lee.user_id}/roles").get_json()["items"]
    assert ["support"] == [one["name"] for one in own]
    assert "in-use" in problem(admin("DELETE", path))["type"]
    assert 200 == admin("PUT", path, json={"scopes": ["users:read"]}).status_code
    assert 403 == lee("GET", "/v1/audit-events").status_code
    assert 204 == admin("DELETE", f"/v1/users/{lee.user_id}/roles/support").status_code
    assert [204, 404] == [admin("DELETE", path).status_code for _ in range(2)]
    assert 422 == admin("PUT", "/v1/roles/admin", json={"scopes": ["users:read"]}).status_code
    assert 404 == admin("PUT", f"/v1/users/{lee.user_id}/roles/nobody").status_code
    actions = [one["action"] for one in service.bodies() if one["action"].startswith("role.")]
    assert ["role.create", "role.update", "role.delete"] == actions


def test_rotated_key_and_its_successor_are_both_valid_for_the_overlap(
    service: RunningService,
) -> None:
    """Afterwards only the new one is, with the same scopes."""
    admin = service.caller(username="root")
    lee = holder(admin, "auditor", scopes=["audit:read"])
    done = admin("POST", f"{key_path(lee)}/rotation", json={"overlap_seconds": 60}).get_json()
    successor = Caller(app=lee.app, key=done["key"], user_id=lee.user_id)
    both = (lee, successor)
    assert [200, 200] == [one("GET", "/v1/audit-events").status_code for one in both]
    assert (
        201 == admin("POST", f"{key_path(lee)}/rotation", json={"overlap_seconds": 0}).status_code
    )
    assert [401, 200] == [one("GET", "/v1/audit-events").status_code for one in both]
    assert 422 == admin("POST", f"{key_path(lee)}/rotation", json={}).status_code
    assert 204 == admin("DELETE", key_path(successor)).status_code
    assert 401 == successor("GET", "/v1/audit-events").status_code
    revoked = admin("GET", key_path(successor)).get_json()
    assert (["audit:read"], True) == (revoked["scopes"], revoked["revoked_at"] is not None)


def test_last_use_of_a_key_is_shown(service: RunningService) -> None:
    """Once it is written; the uses leave no events."""
    admin = service.caller(username="root")
    lee = holder(admin, "auditor", scopes=["audit:read"])
    before = len(service.bodies())
    lee("GET", "/v1/audit-events")
    service.app.extensions[GATE].authenticator.uses.write()
    (shown,) = admin("GET", f"/v1/users/{lee.user_id}/keys").get_json()["items"]
    assert (True, before) == (shown["last_used_at"] is not None, len(service.bodies()))


@pytest.fixture
def remembering(tmp_path: Path, database_url: str) -> Iterator[RunningService]:
    """A service that remembers a verified key for a moment."""
    settings = settings_at(tmp_path / "data", database_url, key_cache_seconds=1)
    with running_service(settings) as running:
        yield running


def test_remembered_key_needs_no_query_and_is_forgotten(remembering: RunningService) -> None:
    """Its revocation is effective after the time for which it is remembered."""
    kim, admin = remembering.caller("users:read", username="kim"), remembering.caller()
    statements: list[str] = []

    def note(*given: Any) -> None:
        statements.append(given[2])

    def is_remembered() -> bool:
        """Whether no query asked for the key; on a slow machine it is forgotten in between."""
        statements.clear()
        assert 200 == kim("GET", "/v1/users").status_code
        return not any("api_keys" in one for one in statements)

    event.listen(remembering.services.database.engine, "before_cursor_execute", note)
    assert not is_remembered()
    wait_for(is_remembered)
    event.remove(remembering.services.database.engine, "before_cursor_execute", note)
    assert 204 == admin("DELETE", key_path(kim)).status_code
    wait_for(lambda: kim("GET", "/v1/users").status_code == 401)


def test_remembered_key_is_found_by_its_whole_secret_until_its_time_is_over() -> None:
    """Neither another secret of the id nor a later moment finds it."""
    now = 100.0
    cache = KeyCache(seconds=5, clock=lambda: now)
    given = ParsedKey(id=7, hash="a" * 64)
    kim = Principal(actor_id="1", label="kim", scopes=frozenset({"admin"}))
    cache.remember(given, kim, read_at=98.0)
    assert (kim, None) == (cache.find(given), cache.find(ParsedKey(id=7, hash="b" * 64)))
    now = 103.0
    assert cache.find(given) is None
    cache.remember(given, kim, read_at=97.0)
    assert cache.find(given) is None


def test_commands_manage_keys_and_users(tmp_path: Path, sqlite_url: str) -> None:
    """The first admin key is made by a command; keys are rotated and revoked, users deactivated."""
    settings = settings_at(tmp_path / "data", sqlite_url)
    environ = {
        "AUDITSPAN_DATABASE_URL": settings.database_url,
        "AUDITSPAN_DATA_DIR": str(settings.data_dir),
    }

    def run(*arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(main, [*arguments, "--json"], env=environ)
        assert done.exit_code == 0, done.output
        made: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
        return made

    key = ("keys", "create", "--username", "kim", "--scope", "audit:read", "--tenant", "north")
    first = run(*key, "--expires-at", "2999-01-01T00:00:00Z")
    second = run("keys", "rotate", str(first["id"]), "--overlap-hours", "1")
    assert ("kim", ["audit:read"]) == (second["username"], second["scopes"])
    assert "north" == run("keys", "list")["tenant"]
    assert run("keys", "revoke", str(first["id"]))["revoked_at"]
    with running_service(settings) as service:
        callers = [Caller(app=service.app, key=one["key"], user_id=1) for one in (first, second)]
        assert [401, 200] == [one("GET", "/v1/audit-events").status_code for one in callers]
        assert run("users", "deactivate", "kim")["active"] is False
        assert 401 == callers[1]("GET", "/v1/audit-events").status_code
        assert run("users", "activate", "kim")["active"] is True
        assert 200 == callers[1]("GET", "/v1/audit-events").status_code
    done = CliRunner().invoke(main, ["users", "assign", "kim", "writer"], env=environ)
    assert (0, "kim has the role writer.\n") == (done.exit_code, done.stdout)
    wrong = CliRunner().invoke(main, [*key, "--scope", "admin"], env=environ)
    assert (2, True) == (wrong.exit_code, "not for the key of a tenant" in wrong.output)


def test_privileges_of_a_deployment_are_enough(tmp_path: Path) -> None:
    """The service's role manages roles and keys, writes last uses and searches by terms."""
    with deployed_database() as place:
        settings = settings_at(tmp_path / "data", place.url("app"))
        with running_service(settings) as service:
            admin = service.caller(username="root")
            lee = holder(admin, "auditor", "writer", scopes=["audit:read", "audit:write"])
            done = lee("POST", "/v1/audit-events", json={"action": "note.made"})
            assert 201 == done.status_code
            assert 1 == len(lee.events(field="name", action="role.*", target_id="1"))
            service.app.extensions[GATE].authenticator.uses.write()
            (shown,) = admin("GET", f"/v1/users/{lee.user_id}/keys").get_json()["items"]
            assert shown["last_used_at"]
            assert 201 == admin("POST", f"{key_path(lee)}/rotation", json={}).status_code
            gone = admin("DELETE", f"/v1/users/{lee.user_id}", headers={"If-Match": "*"})
            assert (204, 401) == (gone.status_code, lee("GET", "/v1/roles").status_code)


def test_user_with_the_role_admin_is_an_administrator(service: RunningService) -> None:
    """Though it has no key yet, only an administrator changes or deletes it."""
    admin, writer = service.caller(username="root"), service.caller("users:write", username="kim")
    user = f"/v1/users/{admin.create(username='lee')['id']}"
    assert 204 == admin("PUT", f"{user}/roles/admin").status_code
    headers = {"If-Match": "*"}
    assert 403 == writer("PATCH", user, json={"active": False}, headers=headers).status_code
    assert 403 == writer("DELETE", user, headers=headers).status_code
    assert 204 == admin("DELETE", user, headers=headers).status_code


def test_state_of_users_and_roles_is_replayed(service: RunningService) -> None:
    """The trail tells the live tables, with the roles of each user."""
    admin = service.caller(username="root")
    lee = holder(admin, "auditor", "writer", scopes=["audit:read"])
    admin("DELETE", f"/v1/users/{lee.user_id}/roles/writer")
    engine, tables = service.services.database.engine, service.services.trail.tables
    with engine.connect() as connection:
        DIALECTS.of(connection).read_snapshot(connection)
        keys = service.services.mac_keys
        assert [] == check_state(connection, tables, Base.metadata, mac_key=keys).differences
