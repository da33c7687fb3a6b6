"""Drained and undrained changes of one object: its history has their real order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Table, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditspan.storage.events import history
from integration.capture.application import Application, make_application
from integration.capture.test_leftovers import outside, work

Story = Callable[[Application], None]


class Base(DeclarativeBase):
    """Models of these tests."""


tagged = Table(
    "tagged",
    Base.metadata,
    Column("word_id", ForeignKey("word.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True),
)


class Tag(Base):
    """The other side of a link table."""

    __tablename__ = "tag"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)


class Word(Base):
    """What the stories are about."""

    __tablename__ = "word"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    s: Mapped[str | None]
    n: Mapped[int] = mapped_column(default=0, server_default="0")
    tags: Mapped[list[Tag]] = relationship(secondary=tagged)


@pytest.fixture
def application(engine: Engine) -> Application:
    """Words and tags under a trail."""
    return make_application(engine, Base.metadata)


def inside(application: Application, statement: str) -> None:
    """The application writes, in a transaction of its own, which is drained."""
    with application.unit_of_work() as session:
        session.execute(text(statement))


def told(application: Application, id_: str = "1") -> list[tuple[str, str, Any]]:
    """The actor, the verb and the new text, or the links, of each event of a word's history."""
    with application.engine.connect() as connection:
        found = history(connection, application.trail.tables, "word", id_)
    return [_short(event.resource()) for event in found]


def _short(event: dict[str, Any]) -> tuple[str, str, Any]:
    changes, verb = event["changes"], event["action"].rpartition(".")[2]
    news = changes.get("tags") or changes.get("s", {}).get("new")
    return event["actor"]["type"], verb, news


def update_after_update(application: Application) -> None:
    """The application updates a row that another program has just updated."""
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'a')")
    outside(application, "UPDATE word SET s = 'b'")
    inside(application, "UPDATE word SET s = 'c'")


def whole_life(application: Application) -> None:
    """Another program creates a row, the application updates and deletes it."""
    outside(application, "INSERT INTO word (id, s) VALUES (1, 'a')")
    inside(application, "UPDATE word SET s = 'b'")
    inside(application, "DELETE FROM word")


def deletion_and_creation(application: Application) -> None:
    """Another program deletes a row, and the application creates it again."""
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'a')")
    outside(application, "DELETE FROM word")
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'c')")


def several_creations(application: Application) -> None:
    """Both create and delete in turn."""
    outside(application, "INSERT INTO word (id, s) VALUES (1, 'a')")
    inside(application, "DELETE FROM word")
    outside(application, "INSERT INTO word (id, s) VALUES (1, 'b')", "DELETE FROM word")
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'c')")


def other_columns(application: Application) -> None:
    """They change different columns of one row."""
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'a')")
    outside(application, "UPDATE word SET n = 1")
    inside(application, "UPDATE word SET s = 'c'")
    outside(application, "UPDATE word SET n = 2")


def links(application: Application) -> None:
    """Another program unlinks what the application has linked, which links it again."""
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'a')")
    inside(application, "INSERT INTO tag VALUES (5)")
    inside(application, "INSERT INTO tagged VALUES (1, 5)")
    outside(application, "DELETE FROM tagged")
    inside(application, "INSERT INTO tagged VALUES (1, 5)")


ADDED, REMOVED = {"added": ["5"]}, {"removed": ["5"]}
STORIES: list[tuple[Story, list[tuple[str, str, Any]]]] = [
    (
        update_after_update,
        [("user", "create", "a"), ("database", "update", "b"), ("user", "update", "c")],
    ),
    (
        whole_life,
        [("database", "create", "a"), ("user", "update", "b"), ("user", "delete", None)],
    ),
    (
        deletion_and_creation,
        [("user", "create", "a"), ("database", "delete", None), ("user", "create", "c")],
    ),
    (
        several_creations,
        [
            ("database", "create", "a"),
            ("user", "delete", None),
            ("database", "create", "b"),
            ("database", "delete", None),
            ("user", "create", "c"),
        ],
    ),
    (
        other_columns,
        [
            ("user", "create", "a"),
            ("database", "update", None),
            ("user", "update", "c"),
            ("database", "update", None),
        ],
    ),
    (
        links,
        [
            ("user", "create", "a"),
            ("user", "update", ADDED),
            ("database", "update", REMOVED),
            ("user", "update", ADDED),
        ],
    ),
]


@pytest.mark.parametrize("limit", [2000, 1], ids=["one batch", "small batches"])
@pytest.mark.parametrize(("story", "expected"), STORIES, ids=[one.__name__ for one, _ in STORIES])
def test_history_has_the_order_of_the_changes(
    application: Application, story: Story, expected: list[tuple[str, str, Any]], limit: int
) -> None:
    """The worker records last what happened in between, and the state check finds nothing."""
    story(application)
    while work(application, limit):
        pass
    assert expected == told(application)
    application.check()


def test_key_that_another_program_changed_is_followed(application: Application) -> None:
    """The application changes the row under its new key before the worker records the move."""
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'a')")
    outside(application, "UPDATE word SET id = 2")
    inside(application, "UPDATE word SET s = 'c'")
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'd')")
    work(application)
    assert [("database", "update", None), ("user", "update", "c")] == told(application, "2")
    application.check()


def test_explicit_event_stays_behind_what_was_recorded_before_it(application: Application) -> None:
    """It has no change id, and its place in the trail is all that is known of it."""
    inside(application, "INSERT INTO word (id, s) VALUES (1, 'a')")
    outside(application, "UPDATE word SET s = 'b'")
    with application.unit_of_work() as session:
        word = session.get_one(Word, 1)
        word.s = "c"
        application.trail.record(session, "word.exported", target=word)
    work(application)
    assert ["create", "update", "update", "exported"] == [verb for _, verb, _ in told(application)]
    application.check()
