"""Rows that SQLite's REPLACE displaces are recorded as deleted, whatever statement did it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    String,
    Table,
    UniqueConstraint,
    insert,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from auditspan import AuditTrail, audit_context
from auditspan.testing import captured
from integration.library.models import Base, Team
from integration.library.world import KEY, KIM, make_world
from support.replay import Kind, assert_replays


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            insert(Team).values(id=1, name="new").prefix_with("OR REPLACE"),
            ["team.delete", "team.create"],
        ),
        (
            insert(Base.metadata.tables["team"]).values(id=1, name="n").prefix_with("or replace"),
            ["team.delete", "team.create"],
        ),
        (update(Team).values(name="new").prefix_with("OR REPLACE"), ["team.update"] * 2),
        (
            update(Team).where(Team.id == 2).values(id=1).prefix_with("OR REPLACE"),
            ["team.delete", "team.update"],
        ),
    ],
    ids=["insert", "core insert", "update", "update of a key"],
)
def test_rows_that_or_replace_displaces_are_recorded_as_deleted(
    sqlite_engine: Engine, statement: Any, expected: list[str]
) -> None:
    """It deletes rows that it does not name, and the trail has each of them."""
    world = make_world(sqlite_engine)
    with world.unit_of_work() as session:
        session.add_all([Team(id=1, name="old"), Team(id=2, name="other")])
    with world.unit_of_work() as session:
        session.execute(statement)
    world.check()
    assert expected == world.actions()[2:]


class Own(DeclarativeBase):
    pass


class Setting(Own):
    """A new row that has the name of one row and the place of another displaces both."""

    __audit__ = True
    __table__ = Table(
        "setting",
        Own.metadata,
        Column("id", Integer, primary_key=True, sqlite_on_conflict_primary_key="REPLACE"),
        Column("name", String(20)),
        Column("place", Integer),
        UniqueConstraint("name", sqlite_on_conflict="REPLACE"),
        UniqueConstraint("place", sqlite_on_conflict="REPLACE"),
    )


DISPLACED = [("setting.delete", "1"), ("setting.delete", "2")]
NEW = {"id": 9, "name": "a", "place": 2}

WRITES: dict[str, tuple[Callable[[Session], Any], list[tuple[str, str]]]] = {
    "object": (lambda s: s.add(Setting(**NEW)), [*DISPLACED, ("setting.create", "9")]),
    "statement": (
        lambda s: s.execute(insert(Setting).values(**NEW)),
        [*DISPLACED, ("setting.create", "9")],
    ),
    "text": (
        lambda s: s.execute(text("INSERT INTO setting VALUES (9, 'a', 2)")),
        [*DISPLACED, ("setting.create", "9")],
    ),
    "text of a key": (
        lambda s: s.execute(text("INSERT INTO setting VALUES (1, 'new', 2)")),
        [*DISPLACED, ("setting.create", "1")],
    ),
    "update": (
        lambda s: s.execute(update(Setting.__table__).values(name="a").where(text("id = 3"))),
        [("setting.delete", "1"), ("setting.update", "3")],
    ),
    "update of two keys": (
        lambda s: s.execute(text("UPDATE setting SET name = 'a', place = 2 WHERE id = 3")),
        [*DISPLACED, ("setting.update", "3")],
    ),
}


@pytest.mark.parametrize("way", WRITES)
def test_rows_that_a_constraint_displaces_are_recorded_as_deleted(
    sqlite_engine: Engine, way: str
) -> None:
    """`ON CONFLICT REPLACE` of a table does to every INSERT and UPDATE what OR REPLACE does."""
    write, expected = WRITES[way]
    sessions = sessionmaker(sqlite_engine)
    trail = AuditTrail(sessions, metadata=Own.metadata, mac_key=KEY)
    Own.metadata.create_all(sqlite_engine)
    with audit_context(actor=KIM), captured(trail, sessions) as events:
        with sessions.begin() as session:
            rows = [(1, "a", 1), (2, "b", 2), (3, "c", 3)]
            session.add_all([Setting(id=id_, name=name, place=n) for id_, name, n in rows])
        with sessions.begin() as session:
            write(session)
    assert expected == [(one.action, one["target"]["id"]) for one in events[3:]]
    with sqlite_engine.connect() as connection:
        bodies = [json.dumps(one) for one in events]
        assert_replays(connection, bodies, {"setting": Kind(table=Setting.__table__)})
