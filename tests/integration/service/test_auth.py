"""Who may do what: closed by default, open for a live key with the scope."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auditspan import Actor, audit_context
from auditspan_service.accounts.api_keys import revoke_key
from auditspan_service.accounts.scopes import ON_BEHALF_OF, PURGE, SCOPES
from auditspan_service.api.auth import API_PREFIX, required_scope
from auditspan_service.models import ApiKey, User, utc_now
from support.openapi import scope_matrix, with_tables
from support.service import Caller, RunningService, problem, running_service, settings_at

Change = Any
ROOT = Path(__file__).parents[3]


OTLP = "/v1/logs"
"""The route whose errors are those of OTLP (test_otlp_ingest.py)."""


def routes(service: RunningService) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and scope of every route of the API."""
    for rule in service.app.url_map.iter_rules():
        if rule.rule.startswith(API_PREFIX):
            scope = required_scope(service.app, rule.endpoint)
            # OPTIONS tells the methods only, and belongs to whichever rule is first on its path.
            for method in sorted((rule.methods or set()) - {"OPTIONS"}):
                yield method, re.sub("<[^>]+>", "1", rule.rule), scope


def test_every_route_declares_its_scope(service: RunningService) -> None:
    """No route of the API is without a scope."""
    assert [route for route in routes(service) if route[2] not in SCOPES] == []


def test_every_scope_opens_a_route(service: RunningService) -> None:
    """No key can be given a scope that opens nothing, and look as if it could do something."""
    more = {ON_BEHALF_OF}  # opens a member of a body
    assert {scope for _, _, scope in routes(service)} == set(SCOPES) - more


def test_matrix_of_scopes_is_that_of_the_page_cell_by_cell(tmp_path: Path, sqlite_url: str) -> None:
    """A key with one scope gets 403 exactly where docs/reference/api.md has no `yes`."""
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    with running_service(settings_at(tmp_path / "data", sqlite_url)) as service:
        assert page == with_tables(page, service.app)
        callers = [service.caller(scope, username=f"{scope} alone") for scope in SCOPES]
        for row in scope_matrix(service.app):
            _, operation, *cells, _ = (cell.strip(" `") for cell in row.split("|"))
            method, path = re.sub("{[^}]+}", "999", operation).split()
            answers = [caller(method, path).status_code for caller in callers]
            assert (row, [cell == "yes" for cell in cells]) == (row, [a != 403 for a in answers])


def test_forgotten_scope_closes_the_door(service: RunningService) -> None:
    """A route that says nothing is refused even for admin."""
    service.app.add_url_rule("/v1/forgotten", view_func=lambda: "open", endpoint="forgotten")
    document = problem(service.caller()("GET", "/v1/forgotten"))
    assert (document["status"], document["type"]) == (403, "/problems/forbidden")


def test_no_route_without_a_key(service: RunningService) -> None:
    """Every method of every route answers 401 to somebody without a key, and changes nothing."""
    service.caller().create(username="lee")
    before = service.tables()
    client = service.app.test_client()
    for method, path, _ in routes(service):
        response = client.open(path, method=method, json={"username": "max"})
        assert (method, path, response.status_code) == (method, path, 401)
        assert response.headers["WWW-Authenticate"] == "Bearer"
        if method != "HEAD" and path != OTLP:
            assert problem(response)["type"] == "/problems/unauthenticated"
    assert service.tables() == before


def test_no_route_with_other_scopes(service: RunningService) -> None:
    """A key with every scope but the one that is needed gets 403, which names it."""
    service.caller().create(username="lee")
    others = [scope for scope in SCOPES if scope not in {"admin", PURGE}]
    callers = {scope: service.caller(*(s for s in others if s != scope)) for scope in SCOPES}
    before = service.tables()
    for method, path, scope in routes(service):
        assert scope is not None
        response = callers[scope](method, path, json={"username": "max"})
        assert (method, path, response.status_code) == (method, path, 403)
        assert f'scope="{scope}"' in response.headers["WWW-Authenticate"]
        if method != "HEAD" and path != OTLP:
            assert scope in problem(response)["detail"]
    assert service.tables() == before


@pytest.mark.parametrize(
    ("scope", "method", "path", "expected"),
    [
        ("users:read", "GET", "/v1/users", 200),
        ("users:read", "HEAD", "/v1/users", 200),
        ("users:write", "POST", "/v1/users", 201),
        ("audit:read", "GET", "/v1/audit-events", 200),
        ("admin", "GET", "/v1/users", 200),
        ("admin", "GET", "/v1/audit-events", 200),
    ],
)
def test_scope_opens_its_route(
    service: RunningService, scope: str, method: str, path: str, expected: int
) -> None:
    """One scope is enough for what it names."""
    body = {"json": {"username": "lee"}} if method == "POST" else {}
    assert service.caller(scope)(method, path, **body).status_code == expected


NO_KEYS = [
    *("", "Bearer", "Bearer ", "Basic dGVzdGVyOng=", "Token {key}", "{key}", "Bearer{key}"),
    *("Bearer {key}x", "Bearer x{key}", "Bearer {key} {key}", "Bearer {key},", "Bearer {KEY}"),
    *("Bearer ask_1_", "Bearer ask_0_" + "x" * 43, "Bearer ask_{id}_" + "A" * 43),
    *("Bearer ask_999999_{secret}", "Bearer ask_0{id}_{secret}", "Bearer ask_{id}_{secret}="),
    *("Bearer ask_" + "9" * 19 + "_{secret}", "Bearer ask_" + "9" * 5000 + "_{secret}"),
    *("Bearer ask_٣_{secret}", "Bearer {hash}", "Bearer ask_{id}_{hash43}"),
]


def test_not_a_key(service: RunningService) -> None:
    """Anything but the whole key in the right form opens nothing."""
    issued = service.issue("admin")
    secret, stored = issued.text.split("_", 2)[2], issued.key.secret_hash
    names = {"key": issued.text, "KEY": issued.text.upper(), "id": issued.key.id, "secret": secret}
    for header in NO_KEYS:
        value = header.format(**names, hash=stored, hash43=stored[:43])
        headers = {"Authorization": value.encode().decode("latin-1")}
        response = service.app.test_client().get("/v1/users", headers=headers)
        assert (header, 401) == (header, problem(response)["status"])
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_scheme_in_any_case(service: RunningService) -> None:
    """The scheme is case-insensitive (RFC 9110)."""
    for scheme in ("bearer", "BEARER", "Bearer "):
        headers = {"Authorization": f"{scheme} {service.issue('admin').text}"}
        assert service.app.test_client().get("/v1/users", headers=headers).status_code == 200


def expire(key: ApiKey) -> None:
    """A key whose time is over."""
    key.expires_at = utc_now() - timedelta(microseconds=1)


def expire_later(key: ApiKey) -> None:
    """A key that has some time left."""
    key.expires_at = utc_now() + timedelta(hours=1)


def deactivate(key: ApiKey) -> None:
    """A key of somebody who is not active."""
    key.user.active = False


@pytest.mark.parametrize(
    ("change", "expected"), [(expire, 401), (expire_later, 200), (deactivate, 401)]
)
def test_expired_key_and_key_of_an_inactive_user_are_rejected(
    service: RunningService, change: Change, expected: int
) -> None:
    """An expired key, and one of an inactive user, opens nothing from then on."""
    kim = service.caller()
    assert kim("GET", "/v1/users").status_code == 200
    key_id = int(kim.key.split("_")[1])
    with audit_context(actor=Actor.system("test")), service.services.database.writing() as session:
        change(session.get(ApiKey, key_id))
    assert kim("GET", "/v1/users").status_code == expected


def test_revoked_key(service: RunningService) -> None:
    """A revoked key opens nothing; the user's other keys do."""
    first, second = service.caller(), service.caller()
    with audit_context(actor=Actor.system("test")), service.services.database.writing() as session:
        revoke_key(session, int(first.key.split("_")[1]))
    assert [caller("GET", "/v1/users").status_code for caller in (first, second)] == [401, 200]


def test_actor_is_the_user_of_the_key(service: RunningService) -> None:
    """The actor of a row is the user whose key was used, under the name of that moment."""
    first = service.caller(username="first")
    second: Caller = service.caller(username="second")
    first.create(username="a")
    second.create(username="b")
    assert [body["actor"] for body in service.bodies()[-2:]] == [
        {"type": "user", "id": str(first.user_id), "label": "first"},
        {"type": "user", "id": str(second.user_id), "label": "second"},
    ]


def test_keys_of_others_stay(service: RunningService) -> None:
    """A user who deactivates another does not lock themselves out."""
    kim = service.caller()
    lee = service.caller(username="lee")
    kim("PATCH", f"/v1/users/{lee.user_id}", json={"active": False}, headers={"If-Match": "*"})
    assert [caller("GET", "/v1/users").status_code for caller in (kim, lee)] == [200, 401]
    with service.services.database.reading() as session:
        user = session.get(User, lee.user_id)
        assert user is not None
        assert not user.active


ON_USER = [
    ("PATCH", {"json": {"active": False}}),
    ("PATCH", {"json": {"active": True}}),
    ("PATCH", {"json": {"username": "mallory"}}),
    ("DELETE", {}),
]


@pytest.mark.parametrize(("method", "given"), ON_USER, ids=str)
@pytest.mark.parametrize("is_active", [True, False], ids=["active", "inactive"])
def test_only_an_admin_key_changes_an_administrator(
    service: RunningService, method: str, given: dict[str, Any], *, is_active: bool
) -> None:
    """A key for `users:write` is refused with 403, and neither a user nor a row is written."""
    admin = service.caller(username="admin")
    writer = service.caller("users:write", "users:read", username="writer")
    root = service.caller(username="root")
    path, headers = f"/v1/users/{admin.user_id}", {"If-Match": "*"}
    if not is_active:
        root("PATCH", path, json={"active": False}, headers=headers)
    before = service.tables()
    refused = writer(method, path, headers=headers, **given)
    assert 403 == problem(refused)["status"]
    assert before == service.tables()
    assert root(method, path, headers=headers, **given).status_code in {200, 204}


@pytest.mark.parametrize(
    ("scopes", "change", "expected"),
    [(("users:read",), None, 200), (("admin",), expire, 200), (("admin",), expire_later, 403)],
    ids=["another scope", "expired", "not yet expired"],
)
def test_user_without_a_valid_admin_key_is_not_protected(
    service: RunningService, scopes: tuple[str, ...], change: Change, expected: int
) -> None:
    """Keys with other scopes, and those whose time is over, protect nobody."""
    other = service.caller(*scopes, username="other")
    if change:
        key_id = int(other.key.split("_")[1])
        context = audit_context(actor=Actor.system("test"))
        with context, service.services.database.writing() as session:
            change(session.get(ApiKey, key_id))
    writer = service.caller("users:write", username="writer")
    path, headers = f"/v1/users/{other.user_id}", {"If-Match": "*"}
    done = writer("PATCH", path, json={"active": False}, headers=headers)
    assert expected == done.status_code
