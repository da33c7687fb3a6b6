"""The API does the same with and without a trail, and the trail knows all that it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from auditspan import AuditTrail
from integration.capture.application import KEY
from integration.capture.apps.watching import fresh, under, watched

PLANTED = "planted-secret"


@dataclass(kw_only=True)
class Api:
    """The application, with a client that has a token.

    Attributes:
        secrets: keys and tokens that were given out, and what was planted.
    """

    client: FlaskClient
    engine: Engine
    trail: AuditTrail | None
    secrets: list[str] = field(default_factory=lambda: [PLANTED])
    token: str = ""
    key: str = ""

    def call(self, method: str, path: str, expected: int = 200, json: Any = None) -> Any:
        """Make a request with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = self.client.open(path, method=method, json=json, headers=headers)
        assert expected == answer.status_code
        return answer.json

    def register(self, name: str) -> None:
        """Become a client with a token."""
        self.key = self.call("POST", "/clients", 201, {"name": name})["api_key"]
        self.renew()

    def renew(self) -> None:
        """Get another token."""
        self.token = self.call("POST", "/tokens", 201, {"api_key": self.key})["token"]
        self.secrets += [self.key, self.token]


@pytest.fixture
def api(url: str, is_audited: bool, caplog: pytest.LogCaptureFixture) -> Iterator[Api]:  # noqa: FBT001 (a fixture)
    """The application, with a client that has a token."""
    package = fresh("apps.api")
    app = package.create_app(url)
    trail = package.audited(app, mac_key=KEY) if is_audited else None
    engine = app.extensions["engine"]
    package.Base.metadata.create_all(engine)
    made = Api(client=app.test_client(), engine=engine, trail=trail)
    with watched(engine, trail, caplog, secrets=made.secrets):
        made.register("kim")
        yield made


def test_a_document_is_written_by_upsert(api: Api) -> None:
    """The second time it is replaced."""
    api.call("PUT", "/documents/a/b", 204, {"n": 1, "nested": {"list": [1, 2.50, None]}})
    assert not api.call("GET", "/documents/a/b")["updated"]
    api.call("PUT", "/documents/a/b", 204, {"n": 2})
    assert {"body": {"n": 2}, "tags": [], "updated": True} == api.call("GET", "/documents/a/b")


def test_a_document_changes_in_place(api: Api) -> None:
    """Members of the dictionary and of the list are written."""
    api.call("PUT", "/documents/a", 204, {"n": 1, "gone": True})
    change = {"body": {"n": 2, "ü": "é"}, "tags": ["x"], "remove": ["gone"]}
    api.call("PATCH", "/documents/a", json=change)
    shown = api.call("GET", "/documents/a")
    assert ({"n": 2, "ü": "é"}, ["x"]) == (shown["body"], shown["tags"])


def test_many_documents_are_written_at_once(api: Api) -> None:
    """One statement inserts them, and the objects that it returns are changed."""
    rows = [{"path": f"d/{n}", "body": {"n": n}} for n in range(30)]
    assert 30 == len(api.call("POST", "/documents", 201, rows)["ids"])
    assert {"n": 29} == api.call("GET", "/documents/d/29")["body"]


def test_many_documents_are_refused_at_once(api: Api) -> None:
    """One that is there already keeps all of them out."""
    api.call("PUT", "/documents/d/1", 204, {"n": 0})
    rows = [{"path": f"d/{n}", "body": {"n": n}} for n in range(3)]
    api.call("POST", "/documents", 409, rows)
    api.call("GET", "/documents/d/0", 404)
    assert {"n": 0} == api.call("GET", "/documents/d/1")["body"]


def test_old_documents_are_deleted(api: Api) -> None:
    """A time in another zone is compared as the column has it."""
    api.call("PUT", "/documents/a", 204, {})
    api.call("PUT", "/documents/b", 204, {})
    later = quote((datetime.now(UTC) + timedelta(days=1)).isoformat())
    sooner = datetime.now(timezone(timedelta(hours=5))) - timedelta(days=1)
    assert {"deleted": 0} == api.call("DELETE", f"/documents?before={quote(sooner.isoformat())}")
    assert {"deleted": 2} == api.call("DELETE", f"/documents?before={later}")


def test_reading_is_counted(api: Api) -> None:
    """By an upsert that adds one."""
    api.call("PUT", "/documents/a", 204, {})
    for _ in range(3):
        api.call("GET", "/documents/a")
    assert {"read:a": 3} == api.call("GET", "/counters")


def test_a_revoked_token_is_refused(api: Api) -> None:
    """The client gets another one."""
    api.call("DELETE", "/tokens/current", 204)
    api.call("GET", "/documents/a", 401)
    api.renew()
    api.call("PUT", "/documents/a", 204, {})


def test_all_other_tokens_are_revoked(api: Api) -> None:
    """By one statement."""
    first = api.token
    api.renew()
    api.renew()
    assert {"revoked": 2} == api.call("DELETE", "/tokens")
    api.token = first
    api.call("GET", "/documents/a", 401)


def test_settings_with_a_secret_are_kept(api: Api) -> None:
    """The application needs what the trail may not show."""
    api.call("PATCH", "/clients/me", json={"webhook": {"url": "u", "secret": PLANTED}})
    api.call("PATCH", "/clients/me", json={"theme": "dark"})
    expected = {"webhook": {"url": "u", "secret": PLANTED}, "theme": "dark", "n": 1}
    assert expected == api.call("PATCH", "/clients/me", json={"n": 1})


def test_a_client_leaves_with_all_that_it_has(api: Api) -> None:
    """The database deletes tokens and documents."""
    api.call("PUT", "/documents/a", 204, {})
    api.call("DELETE", "/clients/me", 204)
    api.call("GET", "/documents/a", 401)
    api.register("kim")
    api.call("GET", "/documents/a", 404)


def test_a_name_that_is_taken_is_refused(api: Api) -> None:
    """Nothing is left of the attempt."""
    api.call("POST", "/clients", 409, {"name": "kim"})
    api.call("POST", "/tokens", 401, {"api_key": "wrong"})


@pytest.mark.parametrize("is_audited", [True], ids=["audited"], indirect=True)
def test_the_trail_names_the_client(api: Api) -> None:
    """By its key, in the form that targets have."""
    api.call("PUT", "/documents/a", 204, {})
    assert api.trail is not None
    events = under(api.engine, api.trail).events()
    (written,) = [event for event in events if event["action"] == "document.create"]
    (client,) = [event for event in events if event["action"] == "client.create"]
    assert (
        ("user", "/documents/<path:path>", client["target"]["id"]),
        "anonymous",
    ) == (
        (written["actor"]["type"], written["request"]["route"], written["actor"]["id"]),
        client["actor"]["type"],
    )
