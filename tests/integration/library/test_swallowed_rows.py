"""Audit rows that the database drops without an error."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import SQLAlchemyError

from auditspan import AuditError, AuditWriteError, Target
from integration.library.models import Team
from integration.library.world import World

SWALLOWING = {
    "sqlite": {
        "trigger": "CREATE TRIGGER swallow BEFORE INSERT ON audit_event "
        "BEGIN SELECT RAISE(IGNORE); END",
        "trigger for one row": "CREATE TRIGGER swallow BEFORE INSERT ON audit_event "
        "WHEN (SELECT count(*) FROM audit_event) = 1 BEGIN SELECT RAISE(IGNORE); END",
        "temporary trigger": "CREATE TEMP TRIGGER swallow BEFORE INSERT ON main.audit_event "
        "BEGIN SELECT RAISE(IGNORE); END",
    },
    "postgresql": {
        "rule": "CREATE RULE swallow AS ON INSERT TO audit_event DO INSTEAD NOTHING",
        "rule for one row": "CREATE RULE swallow AS ON INSERT TO audit_event "
        "WHERE NEW.target_id = '2' DO INSTEAD NOTHING",
        "redirecting rule": "CREATE TABLE elsewhere (body text); "
        "CREATE RULE swallow AS ON INSERT TO audit_event DO INSTEAD "
        "INSERT INTO elsewhere VALUES (NEW.body)",
        "trigger": "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN NULL; END'; CREATE TRIGGER swallow BEFORE INSERT ON audit_event "
        "FOR EACH ROW EXECUTE FUNCTION swallow()",
        "trigger for one row": "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN NULL; END'; CREATE TRIGGER swallow BEFORE INSERT ON audit_event "
        "FOR EACH ROW WHEN (NEW.target_id = '2') EXECUTE FUNCTION swallow()",
    },
}
WAYS = sorted({way for ways in SWALLOWING.values() for way in ways})


def swallow(world: World, way: str) -> None:
    """Let the database drop audit rows in this way, or by a trigger where it has no such way."""
    ways = SWALLOWING[world.engine.dialect.name]
    statement = ways.get(way, ways["trigger"])
    with world.engine.begin() as connection:
        for one in statement.split("; C"):
            whole = one if one.startswith("CREATE") else f"C{one}"
            connection.execute(text(whole))


@pytest.mark.parametrize(
    "count", [3, pytest.param(25, marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.parametrize("way", WAYS)
def test_change_whose_row_is_dropped_is_refused(world: World, way: str, count: int) -> None:
    """A change does not commit when the database drops its audit row without an error."""
    swallow(world, way)
    with pytest.raises(AuditWriteError), world.unit_of_work() as session:
        session.add_all([Team(name=f"team {number}") for number in range(count)])
    with world.engine.connect() as connection:
        assert [] == list(connection.scalars(select(Team.name)))


@pytest.mark.parametrize("way", WAYS)
def test_transaction_that_swallows_the_refusal_cannot_commit(world: World, way: str) -> None:
    """An application that catches the error of a dropped event cannot commit its transaction."""
    swallow(world, way)
    with world.request(), world.sessions() as session:
        for number in (1, 2):
            with suppress(AuditWriteError):
                world.trail.record(
                    session, "team.export", target=Target(type="team", id=str(number))
                )
        with pytest.raises((AuditError, SQLAlchemyError)):
            session.commit()
        session.rollback()
    assert [] == world.rows()


def test_row_dropped_under_a_translated_schema_is_refused(world: World) -> None:
    """The count is compared also where SQLAlchemy compiles the INSERT."""
    swallow(world, "trigger")
    engine = world.engine.execution_options(schema_translate_map={"unused": "other"})
    world.sessions.configure(bind=engine)
    with pytest.raises(AuditWriteError), world.unit_of_work() as session:
        session.add_all([Team(name=f"team {number}") for number in range(3)])
    assert [] == world.rows()


def test_driver_without_a_row_count_is_asked_by_event_id(world: World) -> None:
    """Rows are counted in the table when the driver does not report how many it inserted."""
    engine = world.engine.execution_options(schema_translate_map={"unused": "other"})

    def forget(context: Any) -> None:
        if context.isinsert:
            context._rowcount = -1  # noqa: SLF001 (as a driver that does not know it)

    event.listen(engine, "after_cursor_execute", lambda *given: forget(given[4]), named=False)
    world.sessions.configure(bind=engine)
    with world.unit_of_work() as session:
        session.add_all([Team(name=f"team {number}") for number in range(3)])
    assert 3 == len(world.rows())
