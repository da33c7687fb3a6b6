"""The pages for auditors: signing in with a key, looking, signing out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auditspan import Actor, audit_context
from auditspan_service.accounts.api_keys import revoke_key
from support.one_database import ONE_DATABASE
from support.service import RunningService

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def token_of(page: str) -> str:
    """The token of the form on a page."""
    found = _TOKEN.search(page)
    assert found, page
    return found[1]


def sign_in(client: FlaskClient, key: str, path: str = "/sign-in", **options: Any) -> TestResponse:
    """Fill in the form."""
    page = client.get(path, **options).text
    where = re.search(r'name="next" value="([^"]+)"', page)
    assert where
    data = {"csrf_token": token_of(page), "key": key, "next": where[1].replace("&amp;", "&")}
    return client.post("/sign-in", data=data, **options)


def test_a_visitor_is_sent_to_sign_in_and_back(service: RunningService) -> None:
    """The page that was asked for is shown after signing in, with its filters."""
    client = service.app.test_client()
    refused = client.get("/?action=user.*")
    assert (302, "/sign-in?next=%2F%3Faction%3Duser.%2A") == (refused.status_code, refused.location)
    key = service.issue("audit:read", username="ada").text
    answer = sign_in(client, key, refused.location)
    assert (302, "/?action=user.*") == (answer.status_code, answer.location)
    page = client.get(answer.location)
    assert (200, True) == (page.status_code, "user.create" in page.text)


def test_a_session_and_its_views_are_recorded_under_the_user(service: RunningService) -> None:
    """The sign-in names the key by its id; its text is in no body."""
    issued = service.issue("audit:read", username="ada")
    client = service.app.test_client()
    sign_in(client, issued.text)
    client.get("/integrity")
    *_, created, viewed = service.bodies()
    assert ["session.create", "audit.viewed"] == [created["action"], viewed["action"]]
    assert {"ada"} == {one["actor"]["label"] for one in (created, viewed)}
    assert issued.text.rpartition("_")[2] not in str(service.bodies())
    page = client.get(f"/events/{created['event_id']}").text
    assert "<h1>ada performed session.create.</h1>" in " ".join(page.split())


def test_the_cookie_has_its_flags(service: RunningService) -> None:
    """HttpOnly and SameSite=Lax, and Secure where the request came over HTTPS."""
    key = service.issue("audit:read").text
    plain = sign_in(service.app.test_client(), key).headers["Set-Cookie"]
    secure = sign_in(service.app.test_client(), key, base_url="https://localhost").headers[
        "Set-Cookie"
    ]
    flags = [
        [flag in one for flag in ("HttpOnly", "SameSite=Lax", "Secure")] for one in (plain, secure)
    ]
    assert [[True, True, False], [True, True, True]] == flags


@pytest.mark.parametrize(
    ("scope", "change", "status"),
    [
        ("audit:read", {"key": "ask_1_x"}, 401),
        ("audit:read", {"csrf_token": "x"}, 400),
        ("audit:read", {"csrf_token": ""}, 400),
        ("users:read", {}, 403),
        ("admin", {}, 302),
    ],
)
def test_only_a_right_key_signs_in(
    service: RunningService, scope: str, change: Mapping[str, str], status: int
) -> None:
    """The form is shown again with the reason, and no session begins."""
    client = service.app.test_client()
    data = {"csrf_token": token_of(client.get("/sign-in").text), "key": service.issue(scope).text}
    answer = client.post("/sign-in", data={**data, **change})
    assert status == answer.status_code
    assert (200 if status == 302 else 302) == client.get("/").status_code


def test_a_revoked_key_ends_its_session(service: RunningService) -> None:
    """From the next request on, the visitor has to sign in."""
    issued = service.issue("audit:read")
    client = service.app.test_client()
    sign_in(client, issued.text)
    assert 200 == client.get("/integrity").status_code
    with audit_context(actor=Actor.system("test")), service.services.database.writing() as session:
        revoke_key(session, issued.key.id)
    assert 302 == client.get("/integrity").status_code
    assert 403 == client.get("/tail", headers={"HX-Request": "true"}).status_code


def test_signing_out_needs_its_form(service: RunningService) -> None:
    """A POST from another site does not sign out; the button does."""
    client = service.app.test_client()
    sign_in(client, service.issue("audit:read").text)
    assert 400 == client.post("/sign-out").status_code
    token = token_of(client.get("/").text)
    assert "/sign-in" == client.post("/sign-out", data={"csrf_token": token}).location
    assert 302 == client.get("/").status_code


@ONE_DATABASE
@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "x"]
)
def test_signing_in_leads_to_no_other_host(service: RunningService, wanted: str) -> None:
    """A prepared link continues to the trail."""
    client = service.app.test_client()
    data = {"csrf_token": token_of(client.get("/sign-in").text), "next": wanted}
    answer = client.post("/sign-in", data={**data, "key": service.issue("audit:read").text})
    assert "/" == answer.location


def test_a_cookie_does_not_open_the_api(service: RunningService) -> None:
    """Routes below /v1 still require a key in a header, so that no form can use them."""
    client = service.app.test_client()
    sign_in(client, service.issue("admin").text)
    assert 401 == client.get("/v1/audit-events").status_code


def test_the_preset_of_denials_finds_refused_requests(service: RunningService) -> None:
    """They are recorded as `authorization.failure`."""
    with audit_context(actor=Actor.user("7")):
        service.services.trail.record_durable("authorization.failure", outcome="failure")
    client = service.app.test_client()
    sign_in(client, service.issue("audit:read", username="ada").text)
    found = re.search(r'href="([^"]+)"[^>]*>Denied<', client.get("/").text)
    assert found
    denied = client.get(found[1].replace("&amp;", "&")).text
    assert 1 == denied.count("data-row href")
    assert "authorization.failure" in denied
