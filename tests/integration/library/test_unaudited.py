"""`unaudited`: what is written inside is counted, by whatever way, and not recorded row by row."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.exc import SQLAlchemyError

from auditspan import AuditConfigError, MissingActorError, audit_context
from integration.library.models import Player, Team
from integration.library.raw_sql import MERGE, UPDATE
from integration.library.shapes import Post, Tag
from integration.library.test_raw_sql import WAYS, Way, set_up
from integration.library.world import KIM, World, make_world

Count = tuple[str, str, int]
"""The type, the operation and the number of rows of a `type.statement`."""

COUNTED: dict[str, list[Count]] = {
    UPDATE: [("team", "update", 1)],
    f"{UPDATE} WHERE false": [],
    "INSERT INTO team (id, name) VALUES (8, 'a'), (9, 'b')": [("team", "insert", 2)],
    "DELETE FROM player": [("player", "delete", 1)],
    "DELETE FROM post_tag": [("post", "delete", 1)],
    "WITH one AS (SELECT 1 AS id) DELETE FROM team WHERE id IN (SELECT id FROM one)": [
        ("team", "delete", 1)
    ],
}
COUNTED_SQLITE: dict[str, list[Count]] = {
    "REPLACE INTO team (id, name) VALUES (1, 'a')": [("team", "delete", 1), ("team", "insert", 1)],
}
COUNTED_POSTGRESQL: dict[str, list[Count]] = {
    "TRUNCATE plain, player": [("player", "truncate", 1)],
    "TRUNCATE team, player CASCADE": [("player", "truncate", 1), ("team", "truncate", 1)],
    "WITH gone AS (DELETE FROM player RETURNING id) UPDATE team SET name = 'x'": [
        ("player", "delete", 1),
        ("team", "update", 1),
    ],
    f"DELETE FROM player; {UPDATE}": [("player", "delete", 1), ("team", "update", 1)],  # noqa: S608 (no input)
    f"{MERGE} WHEN MATCHED THEN UPDATE SET name = 'm'": [("team", "update", 1)],
    "COPY player FROM '/dev/null'": [],
}


@pytest.fixture
def world(world: World) -> World:
    """The application with a team; what is only counted is not replayed."""
    set_up(world, "")
    world.kinds = {}
    return world


def counts(world: World, after: int) -> list[Count]:
    """Return the counts of the events after so many; all of them are counts."""
    made = world.events()[after:]
    assert [] == [one["action"] for one in made if not one["action"].endswith(".statement")]
    assert [] == [one for one in made if one["changes"] or one["target"]["id"] is not None]
    return sorted(
        (one["target"]["type"], one["metadata"]["statement"], one["metadata"]["rows"])
        for one in made
    )


@WAYS
def test_unaudited_sql_is_counted_by_table_and_operation(world: World, way: Way) -> None:
    """`type.statement` with the number of rows, by whom and why, in the same transaction."""
    of_database = {"sqlite": COUNTED_SQLITE, "postgresql": COUNTED_POSTGRESQL}
    for sql, expected in (COUNTED | of_database[world.engine.dialect.name]).items():
        set_up(world, sql)
        before = len(world.rows())
        with (
            world.request(),
            world.trail.unaudited(reason="month end"),
            way(world) as (sender, send),
        ):
            send(sql)
            sender.commit()
        assert expected == counts(world, before), sql
        assert {("month end", "7")} >= {
            (one["reason"], one["actor"]["id"]) for one in world.events()[before:]
        }


def test_unaudited_statements_of_one_transaction_are_counted_together(world: World) -> None:
    """One event for each table and operation, however many statements there were."""
    before = len(world.rows())
    with world.unit_of_work() as session, world.trail.unaudited(reason="x"):
        for id_ in (7, 8, 9):
            session.execute(insert(Team).values(id=id_, name="new"))
        session.execute(update(Team).values(name="d"))
        session.execute(text("UPDATE team SET name = 'e'"))
    assert [("team", "insert", 3), ("team", "update", 8)] == counts(world, before)


def test_unaudited_work_that_is_rolled_back_is_not_counted(world: World) -> None:
    """A count has the fate of its rows, in a savepoint too, and is announced when it is there."""
    before = len(world.rows()), len(world.span_events())
    with world.request(), world.trail.unaudited(reason="x"), world.sessions() as session:
        with session.begin_nested() as savepoint:
            session.execute(text(UPDATE))
            savepoint.rollback()
        session.execute(text(UPDATE))
        session.rollback()
        session.execute(text("DELETE FROM team"))
        session.commit()
    assert [("team", "delete", 1)] == counts(world, before[0])
    announced = world.span_events()[before[1] :]
    assert ["audit.team.statement"] == [one.name for one in announced]


@pytest.mark.parametrize("is_unaudited", [False, True])
def test_a_statement_that_fails_leaves_no_record(world: World, *, is_unaudited: bool) -> None:
    """A statement that the database refused is not counted, also if the transaction continues."""
    before = world.actions()
    with world.unit_of_work() as session:
        for _ in range(2):
            with suppress(SQLAlchemyError), session.begin_nested():
                if is_unaudited:
                    with world.trail.unaudited(reason="x"):
                        session.execute(text("UPDATE team SET name = NULL"))
                else:
                    session.execute(text("UPDATE team SET name = NULL"))
    assert before == world.actions()


@pytest.mark.parametrize(
    "statement",
    [update(Team).values(name="changed"), text(UPDATE)],
    ids=["statement", "text"],
)
def test_statements_around_an_unaudited_block_are_recorded_row_by_row(
    world: World, statement: Any
) -> None:
    """The same transaction before and after it leaves its rows, with their old values."""
    before = len(world.rows())
    with world.unit_of_work() as session:
        session.execute(update(Team).values(name="a"))
        with world.trail.unaudited(reason="too many"):
            session.execute(statement)
            session.execute(text("SELECT count(*) FROM team"))
        session.execute(update(Team).values(name="c"))
    made = sorted(world.events()[before:], key=lambda one: int(one["change_id"]))
    assert ["team.update", "team.statement", "team.update"] == [one["action"] for one in made]
    assert [None, "too many", None] == [one["reason"] for one in made]
    assert {"old": "before", "new": "a"} == made[0]["changes"]["name"]
    assert {"old": "changed", "new": "c"} == made[2]["changes"]["name"]


def test_unaudited_objects_are_counted(world: World) -> None:
    """Flushes of the unit of work inside are counted as statements are."""
    before = len(world.rows())
    with world.unit_of_work() as session, world.trail.unaudited(reason="import"):
        session.get_one(Team, 1).name = "changed"
        session.add(Team(id=8, name="new", players=[Player(name="a"), Player(name="b")]))
        session.flush()
    expected = [("player", "insert", 2), ("team", "insert", 1), ("team", "update", 1)]
    assert expected == counts(world, before)


def test_unaudited_links_are_counted(world: World) -> None:
    """A link counts for the type that has the relationship."""
    before = len(world.rows())
    with world.unit_of_work() as session, world.trail.unaudited(reason="import"):
        session.add(Post(title="p", tags=[Tag(name="a"), Tag(name="b")]))
        session.flush()
    expected = [("post", "insert", 1), ("post", "insert", 2), ("tag", "insert", 2)]
    assert expected == counts(world, before)


def test_objects_that_are_flushed_behind_an_unaudited_block_are_recorded(world: World) -> None:
    """The block is about what is written inside, not about what is added to a session."""
    before = len(world.rows())
    with world.unit_of_work() as session:
        with world.trail.unaudited(reason="import"):
            session.add(Team(id=8, name="new"))
        session.flush()
    assert ["team.create"] == world.actions()[before:]


def test_an_unaudited_block_ends_also_by_an_exception(world: World) -> None:
    """Nested or not: what is written behind it is recorded row by row."""
    with suppress(ZeroDivisionError), world.trail.unaudited(reason="outer"):
        with world.trail.unaudited(reason="inner"):
            pass
        raise ZeroDivisionError
    before = len(world.rows())
    with world.unit_of_work() as session:
        session.execute(text(UPDATE))
    assert ["team.update"] == world.actions()[before:]


@pytest.mark.parametrize("reason", ["", "  "])
def test_unaudited_requires_a_reason(world: World, reason: str) -> None:
    """A block without a reason is refused."""
    with pytest.raises(AuditConfigError, match="reason"), world.trail.unaudited(reason=reason):
        pass


def test_strict_unaudited_sql_without_an_actor_refuses_its_commit(world: World) -> None:
    """A count needs to say who, as every event does."""
    before = world.actions()
    with world.trail.unaudited(reason="x"), world.sessions() as session:
        session.execute(text(UPDATE))
        with pytest.raises(MissingActorError, match="audit_context"):
            session.commit()
    assert before == world.actions()
    with world.sessions() as session:
        assert "before" == session.get_one(Team, 1).name


def test_lenient_unaudited_sql_without_an_actor_is_counted_as_unknown(world: World) -> None:
    """Without an actor the count has an unknown one."""
    lenient = make_world(world.engine, strict=False)
    before = len(world.rows())
    with lenient.trail.unaudited(reason="x"), lenient.sessions.begin() as session:
        session.execute(delete(Team))
    world.counts_span_events = False
    assert [("team", "delete", 1)] == counts(world, before)
    assert "unknown" == world.last()["actor"]["type"]


def test_unaudited_rows_have_the_innermost_reason(world: World) -> None:
    """Blocks nest; a row counts in the one around its statement."""
    world.counts_span_events = False
    before = len(world.rows())
    with (
        audit_context(actor=KIM, reason="context"),
        world.trail.unaudited(reason="outer"),
        world.sessions.begin() as session,
    ):
        with world.trail.unaudited(reason="inner"):
            session.execute(text("UPDATE team SET name = 'a'"))
        session.execute(text("UPDATE team SET name = 'b'"))
    assert ["inner", "outer"] == [event["reason"] for event in world.events()[before:]]
