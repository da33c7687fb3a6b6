"""`auditspan events --follow` shows every event, in whatever order transactions commit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine

from auditspan import Actor, AuditTrail, audit_context
from auditspan.cli.commands.follower import Follower
from auditspan.storage import EventFilter
from support.bare_trail import bare_trail
from support.postgres import empty_database


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An empty database on PostgreSQL, where transactions overlap."""
    with empty_database() as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture
def trail(engine: Engine) -> AuditTrail:
    """A trail without models."""
    return bare_trail(engine)


@pytest.fixture
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement has a snapshot of its own."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def actions(follower: Follower, trail: AuditTrail, reading: Connection) -> list[str]:
    """The actions that a look shows."""
    return [str(one.resource()["action"]) for one in follower.next((reading, trail.tables))]


@pytest.mark.parametrize("wanted", [EventFilter(), EventFilter(action="shop.*")])
def test_late_commit_is_shown(trail: AuditTrail, reading: Connection, wanted: EventFilter) -> None:
    """An event is shown once, also if one with a larger id was committed and shown before it."""
    follower = Follower(wanted)
    with audit_context(actor=Actor.system("test")), trail.new_session() as slow:
        trail.record_durable("shop.opened")
        assert 1 == len(follower.newest((reading, trail.tables), 1))
        trail.record(slow, "shop.slow")
        trail.record(slow, "desk.slow")
        trail.record_durable("shop.fast")
        assert ["shop.fast"] == actions(follower, trail, reading)
        slow.commit()
    late = ["shop.slow", "desk.slow"] if wanted == EventFilter() else ["shop.slow"]
    assert late == actions(follower, trail, reading)
    assert [] == actions(follower, trail, reading)


def test_older_events_are_not_shown_later(trail: AuditTrail, reading: Connection) -> None:
    """Following begins with as many of the newest events as the limit says."""
    follower = Follower(EventFilter())
    with audit_context(actor=Actor.system("test")):
        for _ in range(3):
            trail.record_durable("shop.opened")
        assert 1 == len(follower.newest((reading, trail.tables), 1))
        assert [] == actions(follower, trail, reading)
        with trail.new_session() as session:
            for _ in range(501):  # more than one page
                trail.record(session, "shop.sold")
            session.commit()
    assert 500 == len(actions(follower, trail, reading))
    assert ["shop.sold"] == actions(follower, trail, reading)
    assert [] == actions(follower, trail, reading)
