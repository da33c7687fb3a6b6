"""The text of a key is in the caller's hand, and nowhere else."""

from __future__ import annotations

import hashlib
import logging
from typing import NoReturn

import pytest
from sqlalchemy.exc import DBAPIError

from support.service import RunningService
from support.stranger import as_stranger


def test_secret_is_nowhere(service: RunningService, caplog: pytest.LogCaptureFixture) -> None:
    """No table, span, log record or answer holds a key or its secret, even when things go wrong."""

    @service.app.get("/test/broken")
    def broken() -> NoReturn:
        raise RuntimeError("broken")

    caplog.set_level(logging.DEBUG)
    kim = service.caller()
    secret = kim.key.split("_", 2)[2]
    answers = [
        kim("POST", "/v1/users", json={"username": "lee"}),
        kim("GET", "/v1/users", headers={"If-Match": kim.key}),
        kim("GET", "/v1/audit-events"),
        kim("POST", "/v1/users", json={"username": "lee", "email": kim.key}),
        kim("PATCH", "/v1/users/1", json={"full_name": "x"}, headers={"If-Match": kim.key}),
        kim("GET", "/test/broken"),
        kim("GET", "/v1/users", headers={"Authorization": f"Bearer {kim.key} {kim.key}"}),
        kim("GET", "/v1/users", query_string={"access_token": kim.key}),
        kim("GET", f"/v1/users/{kim.key}"),
    ]
    assert [answer.status_code for answer in answers] == [
        *(201, 200, 200, 422, 412, 500, 401, 400, 404)
    ]

    places = {
        "tables": str(service.tables()),
        "answers": "".join(f"{answer.headers}{answer.text}" for answer in answers),
        "log": caplog.text,
        # The path is the client's own doing, and the only place where it can stand.
        "spans": "".join(
            span.to_json() for span in service.spans() if kim.key not in str(span.attributes)
        ),
    }
    assert [place for place, said in places.items() if secret in said] == []
    leaky = [span for span in service.spans() if secret in span.to_json()]
    assert {span.attributes["http.route"] for span in leaky if span.attributes} <= {
        "/v1/users/<id>",
        "/v1/users",
    }


def test_hash_is_in_no_body(service: RunningService) -> None:
    """The stored hash is that of the secret, and no audit row shows it."""
    issued = service.issue("admin")
    digest = hashlib.sha256(issued.text.split("_", 2)[2].encode()).hexdigest()
    assert digest == issued.key.secret_hash
    assert digest not in str(service.bodies())
    row = service.bodies()[-1]
    assert row["action"] == "api_key.create"
    assert sorted(row["changes"]) == [
        *("created_at", "expires_at", "id", "is_bounded", "name", "revoked_at", "scopes"),
        *("tenant", "user_id"),
    ]


def test_issued_key_does_not_show_itself(service: RunningService) -> None:
    """The value that carries the text leaves it out of its repr."""
    issued = service.issue("admin")
    assert issued.text not in repr(issued)
    assert issued.text.startswith(f"ask_{issued.key.id}_")


def test_a_failed_statement_shows_no_hash(service: RunningService) -> None:
    """An error from the statement that writes a key hides its parameters."""
    as_stranger(
        service.services.database.engine, "ALTER TABLE api_keys RENAME COLUMN name TO renamed"
    )
    with pytest.raises(DBAPIError) as caught:
        service.issue("admin")
    assert "INSERT INTO api_keys" in str(caught.value)
    assert "hidden due to hide_parameters=True" in str(caught.value)
