"""The forum does the same with and without a trail, and the trail knows all that it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from auditspan import AuditTrail
from integration.capture.application import KEY
from integration.capture.apps.watching import fresh, under, watched

SECRETS = ["planted-password", "planted-other"]


@dataclass(frozen=True, kw_only=True)
class Forum:
    """The application, with a member who is logged in."""

    client: FlaskClient
    engine: Engine
    trail: AuditTrail | None

    def post(self, path: str, expected: int = 201, **given: Any) -> int:
        """Make something; its id."""
        answer = self.client.post(path, json=given)
        assert expected == answer.status_code
        return int((answer.json or {}).get("id", 0))

    def get(self, path: str) -> dict[str, Any]:
        """What is there."""
        answer = self.client.get(path)
        assert 200 == answer.status_code
        return dict(answer.json or {})

    def delete(self, path: str) -> None:
        """Remove something."""
        assert 204 == self.client.delete(path).status_code

    def topic(self, title: str = "Hello") -> tuple[int, int]:
        """A forum with a topic in it."""
        forum = self.post("/forums", title="General")
        return forum, self.post(f"/forums/{forum}/topics", title=title, content="first")


@pytest.fixture
def forum(url: str, is_audited: bool, caplog: pytest.LogCaptureFixture) -> Iterator[Forum]:  # noqa: FBT001 (a fixture)
    """The application, with a member who is logged in."""
    package = fresh("apps.forum")
    app = package.create_app(url)
    trail = package.audited(app, mac_key=KEY) if is_audited else None
    with app.app_context():
        package.db.create_all()
        engine = package.db.engine
    with watched(engine, trail, caplog, secrets=SECRETS):
        made = Forum(client=app.test_client(), engine=engine, trail=trail)
        made.post("/users", username="kim", password=SECRETS[0])
        made.post("/login", 200, username="kim", password=SECRETS[0])
        yield made


def test_a_topic_in_an_expired_forum_is_counted(forum: Forum) -> None:
    """The forum, the member and the topic are expired when their children are added."""
    general, _ = forum.topic()
    assert {
        "title": "General",
        "topics": [1],
        "topic_count": 1,
        "post_count": 1,
        "last_post": "first",
    } == forum.get(f"/forums/{general}")
    assert 1 == forum.get("/users/1")["post_count"]


def test_replies_are_counted_and_followed(forum: Forum) -> None:
    """Two replies count twice, and are one link."""
    general, topic = forum.topic()
    for content in ("second", "third"):
        forum.post(f"/topics/{topic}/posts", content=content)
    assert 3 == forum.get(f"/forums/{general}")["post_count"]
    assert "third" == forum.get(f"/forums/{general}")["last_post"]
    member = forum.get("/users/1")
    assert (3, [topic]) == (member["post_count"], member["tracked"])


def test_a_look_at_a_topic_is_counted(forum: Forum) -> None:
    """By an expression of SQL."""
    _, topic = forum.topic()
    assert [1, 2, 3] == [forum.get(f"/topics/{topic}")["views"] for _ in range(3)]


def test_pickled_settings_change_in_place(forum: Forum) -> None:
    """A changed member of the pickled dictionary is written."""
    forum.client.patch("/settings", json={"theme": "dark"})
    forum.client.patch("/settings", json={"per_page": 50})
    expected = {"theme": "dark", "signature": None, "per_page": 50}
    assert expected == forum.get("/users/1")["settings"]


def test_every_request_moves_last_seen(forum: Forum) -> None:
    """It is set by the request, and by `onupdate` where the counter changes."""
    before = forum.get("/users/1")["last_seen"]
    forum.topic()
    assert before < forum.get("/users/1")["last_seen"]


def test_an_edited_post_has_been_modified(forum: Forum) -> None:
    """`onupdate` sets the time."""
    _, topic = forum.topic()
    assert {"modified": True} == forum.client.patch("/posts/1", json={"content": "better"}).json
    assert [["better", 1]] == forum.get(f"/topics/{topic}")["posts"]


def test_a_deleted_post_is_counted_down(forum: Forum) -> None:
    """In its forum and at its author."""
    general, topic = forum.topic()
    second = forum.post(f"/topics/{topic}/posts", content="second")
    forum.delete(f"/posts/{second}")
    found = forum.get(f"/forums/{general}")
    assert (1, None) == (found["post_count"], found["last_post"])
    assert 1 == forum.get("/users/1")["post_count"]


def test_a_deleted_topic_takes_posts_and_followers_along(forum: Forum) -> None:
    """The database deletes them."""
    general, topic = forum.topic()
    forum.post(f"/topics/{topic}/posts", content="second")
    forum.delete(f"/topics/{topic}")
    found = forum.get(f"/forums/{general}")
    assert (0, 0, None) == (found["topic_count"], found["post_count"], found["last_post"])
    assert [] == forum.get("/users/1")["tracked"]


def test_a_deleted_forum_takes_its_topics_along(forum: Forum) -> None:
    """The ORM deletes topics, the database their posts, one statement counts anew."""
    general, topic = forum.topic()
    forum.post(f"/forums/{general}/topics", title="Another", content="x")
    forum.delete(f"/forums/{general}")
    assert 404 == forum.client.get(f"/topics/{topic}").status_code
    assert 0 == forum.get("/users/1")["post_count"]


def test_a_topic_moves_to_another_forum(forum: Forum) -> None:
    """Both forums count again."""
    general, topic = forum.topic()
    other = forum.post("/forums", title="Other")
    answer = forum.client.put(f"/topics/{topic}/forum", json={"forum": other})
    assert 204 == answer.status_code
    assert [0, 1] == [forum.get(f"/forums/{one}")["topic_count"] for one in (general, other)]


def test_a_member_who_leaves_leaves_posts_behind(forum: Forum) -> None:
    """The database sets their author to NULL."""
    _, topic = forum.topic()
    lee = forum.post("/users", username="lee", password=SECRETS[1])
    other = Forum(client=forum.client.application.test_client(), engine=forum.engine, trail=None)
    other.post("/login", 200, username="lee", password=SECRETS[1])
    other.post(f"/topics/{topic}/posts", content="second")
    forum.delete(f"/users/{lee}")
    assert [["first", 1], ["second", None]] == forum.get(f"/topics/{topic}")["posts"]


def test_a_name_that_is_taken_is_refused(forum: Forum) -> None:
    """Nothing is left of the attempt, and the next request works."""
    forum.post("/users", 409, username="kim", password=SECRETS[1])
    assert 404 == forum.client.get("/users/2").status_code
    assert 401 == forum.client.post("/login", json={"username": "x", "password": ""}).status_code


def test_a_password_can_be_changed(forum: Forum) -> None:
    """The old one is no good any more."""
    assert 204 == forum.client.put("/password", json={"password": SECRETS[1]}).status_code
    forum.post("/login", 401, username="kim", password=SECRETS[0])
    forum.post("/login", 200, username="kim", password=SECRETS[1])


@pytest.mark.parametrize("is_audited", [True], ids=["audited"], indirect=True)
def test_the_trail_names_the_member_and_the_route(forum: Forum) -> None:
    """The anonymous visitor registers, and the member does the rest."""
    forum.topic()
    assert forum.trail is not None
    events = under(forum.engine, forum.trail).events()
    by = {
        (e["action"], e["actor"]["type"], e["actor"]["id"], e["request"]["route"]) for e in events
    }
    assert ("user.create", "anonymous", None, "/users") in by
    assert ("topic.create", "user", "1", "/forums/<int:forum_id>/topics") in by
    assert {("user.create", "anonymous")} == {one[:2] for one in by if one[1] != "user"}
