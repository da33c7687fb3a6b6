"""Transactions that are not simply one session's: joined, two-phase, on bare connections, retried.

Whatever their shape, a row has the fate of its change, and nothing is announced before the
outermost commit. What AUTOCOMMIT has written is recorded by the worker.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from opentelemetry import trace
from sqlalchemy import Engine, create_engine, event, insert, select, text, update
from sqlalchemy.exc import DBAPIError, InvalidRequestError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from auditspan import (
    AuditConfigError,
    AuditError,
    AuditTrail,
    AuditWriteError,
    MissingActorError,
    audit_context,
)
from auditspan.seal.undrained import Undrained
from integration.library.models import Base, Plain, Pledge, Seat, Team
from integration.library.test_commits import REFUSING
from integration.library.world import KEY, KIM, World, make_world, sqlite_engine_at

Mode = Literal["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]
MODES: list[Mode] = [
    "conditional_savepoint",
    "rollback_only",
    "control_fully",
    "create_savepoint",
]


def teams(world: World) -> list[str]:
    """The names of the teams, as another connection sees them."""
    with world.engine.connect() as connection:
        return list(connection.scalars(select(Team.name).order_by(Team.id)))


def new_names(world: World) -> list[str]:
    """The names of the teams whose creation is in the trail."""
    return [event["changes"]["name"]["new"] for event in world.events()]


def announced_now() -> list[str]:
    """The audit events on the span that is current."""
    span: Any = trace.get_current_span()
    return [one.name for one in span.events if one.name.startswith("audit.")]


def end(transaction: Any, ending: str) -> None:
    """Commit, roll back or close; one that its session has ended already is left alone."""
    if transaction.is_active:
        getattr(transaction, ending)()


@pytest.mark.parametrize("outer_ending", ["commit", "rollback"])
@pytest.mark.parametrize(
    "ending", ["commit", "rollback", pytest.param("close", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("nested", [False, True], ids=["in a transaction", "in a savepoint"])
@pytest.mark.parametrize("mode", MODES)
def test_a_session_that_joins_a_transaction_announces_at_its_end(
    world: World, mode: Mode, ending: str, outer_ending: str, *, nested: bool
) -> None:
    """In all modes: rows are where their changes are, and are announced when the outermost ends.

    What survives is what SQLAlchemy says; the rows of the trail must be the same.
    """
    with world.request(), world.engine.connect() as connection:
        outer = connection.begin()
        savepoint = connection.begin_nested() if nested else None
        connection.execute(insert(Team).values(name="before"))
        with world.sessions(bind=connection, join_transaction_mode=mode) as session:
            session.add(Team(name="joined"))
            session.flush()
            getattr(session, ending)()
            assert not (outer.is_active and announced_now())
        if savepoint is not None:
            end(savepoint, "commit")
            assert not (outer.is_active and announced_now())
        end(outer, outer_ending)
        assert len(teams(world)) == len(announced_now())
    assert teams(world) == new_names(world)
    if ending == "commit" and outer_ending == "commit":
        assert ["before", "joined"] == teams(world)
    if outer_ending == "rollback" and mode != "control_fully":
        assert [] == teams(world)


@pytest.mark.parametrize("mode", ["create_savepoint", "rollback_only", "conditional_savepoint"])
@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_an_outer_test_transaction_decides_for_all_commits_in_it(
    world: World, mode: Mode, ending: str
) -> None:
    """The application commits three times; the test around it rolls all of it back, or commits."""
    with world.request(), world.engine.connect() as connection:
        outer = connection.begin()
        sessions = sessionmaker(connection, join_transaction_mode=mode)
        AuditTrail(sessions, metadata=Base.metadata, mac_key=KEY)
        for name in ("a", "b", "c"):
            with sessions.begin() as session:
                session.add(Team(name=name))
                with session.begin_nested():
                    session.execute(update(Team).values(name=Team.name + "!"))
            assert [] == announced_now()
        getattr(outer, ending)()
        assert (3 + 6 if ending == "commit" else 0) == len(announced_now())
    assert (["a!!!", "b!!", "c!"] if ending == "commit" else []) == teams(world)


def test_a_rollback_in_a_test_transaction_takes_its_own_work_only(world: World) -> None:
    """With `create_savepoint`: what was committed into the outer transaction before stays."""
    with world.request(), world.engine.begin() as connection:
        for name, ending in (("a", "commit"), ("b", "rollback"), ("c", "commit")):
            with world.sessions(
                bind=connection, join_transaction_mode="create_savepoint"
            ) as session:
                session.add(Team(name=name))
                session.flush()
                getattr(session, ending)()
    assert ["a", "c"] == teams(world) == new_names(world)


def test_a_savepoint_with_an_event_that_is_rolled_back_keeps_what_was_written_before(
    world: World,
) -> None:
    """`record` writes the audit rows of earlier changes, and the commit writes them again."""
    with world.request(), world.sessions.begin() as session:
        session.add(Team(name="a"))
        session.flush()
        with session.begin_nested() as savepoint:
            world.trail.record(session, "team.exported")
            savepoint.rollback()
    assert ["team.create"] == [event["action"] for event in world.events()]
    assert ["a"] == new_names(world)


@pytest.mark.parametrize("lost", ["first", "second", "both", "neither"])
def test_two_sessions_on_one_connection_share_its_fate(world: World, lost: str) -> None:
    """One after the other in savepoints of their own, each keeps or loses its own rows."""
    with world.request(), world.engine.connect() as connection, connection.begin():
        for name in ("first", "second"):
            with world.sessions(
                bind=connection, join_transaction_mode="create_savepoint"
            ) as session:
                session.add(Team(name=name))
                session.flush()
                session.rollback() if lost in {name, "both"} else session.commit()
        assert [] == announced_now()
    kept = [name for name in ("first", "second") if lost not in {name, "both"}]
    assert kept == teams(world) == new_names(world)


def test_two_sessions_interleaved_on_one_connection_commit_with_it(world: World) -> None:
    """Flushes alternate; nothing is announced until the connection's transaction is over."""
    with world.request(), world.engine.connect() as connection:
        outer = connection.begin()
        with (
            world.sessions(bind=connection, join_transaction_mode="rollback_only") as one,
            world.sessions(bind=connection, join_transaction_mode="rollback_only") as two,
        ):
            for number, session in enumerate((one, two, one, two)):
                session.add(Team(name=str(number)))
                session.flush()
            two.commit()
            one.commit()
        assert [] == announced_now()
        outer.commit()
    assert ["0", "1", "2", "3"] == new_names(world)


@pytest.mark.parametrize("order", ["one two", "two one"])
def test_two_sessions_in_one_thread_announce_each_at_its_commit(
    postgresql_engine: Engine, order: str
) -> None:
    """Their transactions overlap; each commit records and announces its own rows."""
    world = make_world(postgresql_engine)
    with world.request(), world.sessions() as one, world.sessions() as two:
        named = {"one": one, "two": two}
        for turn in range(2):
            for name, session in named.items():
                session.add(Team(name=f"{name} {turn}"))
                session.flush()
        for done, name in enumerate(order.split(), start=1):
            named[name].commit()
            assert 2 * done == len(announced_now())
    assert [f"{name} {turn}" for name in order.split() for turn in range(2)] == new_names(world)
    ids = [row.tx_id for row in world.rows()]
    assert (ids[0], ids[2]) == (ids[1], ids[3])
    assert 2 == len(set(ids))
    world.check()


# --- Two databases -------------------------------------------------------------------------------


@pytest.fixture
def other(sqlite_template: Path, tmp_path: Path) -> Iterator[Engine]:
    """A second database, with the same tables."""
    path = tmp_path / "other.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = sqlite_engine_at(path)
    yield engine
    engine.dispose()


def two_binds(world: World, other: Engine, **options: Any) -> tuple[World, World]:
    """The same sessions seen from each of their databases."""
    sessions = sessionmaker(binds={Team: world.engine, Seat: other, Pledge: other}, **options)
    trail = AuditTrail(sessions, metadata=Base.metadata, mac_key=KEY)
    worlds = [
        World(
            engine=engine,
            trail=trail,
            sessions=sessions,
            tracer=world.tracer,
            exporter=world.exporter,
            counts_span_events=False,
        )
        for engine in (world.engine, other)
    ]
    world.counts_span_events = False
    return worlds[0], worlds[1]


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_session_with_two_binds_keeps_each_row_beside_its_change(
    world: World, other: Engine, ending: str
) -> None:
    """Each database holds the rows of its own changes, committed with them, or none."""
    one, two = two_binds(world, other)
    with one.request(), one.sessions() as session:
        session.add_all([Team(name="a"), Seat(row="a", number=1)])
        session.flush()
        session.execute(update(Seat).values(taken=True))
        assert [] == announced_now()
        getattr(session, ending)()
    committed = ending == "commit"
    assert (["team.create"] if committed else []) == one.actions()
    assert (["seat.create", "seat.update"] if committed else []) == two.actions()
    ids = [event["event_id"] for event in one.events() + two.events()]
    assert sorted(ids) == sorted(one.announced())
    two.check()


def test_a_statement_on_an_engine_without_sessions_is_recorded_with_its_actor(
    world: World, other: Engine
) -> None:
    """The trail knows another engine already; the table that is named decides."""
    with world.unit_of_work() as session:
        session.add(Team(name="a"))
    with audit_context(actor=KIM), other.begin() as connection:
        connection.execute(insert(Team).values(name="b"))
    with other.connect() as connection:
        bodies = list(connection.scalars(select(world.trail.tables.event.c.body)))
    assert [("team.create", "b", KIM.id)] == [
        (event["action"], event["changes"]["name"]["new"], event["actor"]["id"])
        for event in map(json.loads, bodies)
    ]


def test_a_savepoint_on_two_binds_takes_the_rows_of_both(world: World, other: Engine) -> None:
    """Rolled back on both databases, and the rest is committed and announced on both."""
    one, two = two_binds(world, other)
    with one.unit_of_work() as session:
        session.add_all([Team(name="a"), Seat(row="a", number=1)])
        with suppress(ZeroDivisionError), session.begin_nested():
            session.add_all([Team(name="lost"), Seat(row="lost", number=1)])
            session.flush()
            raise ZeroDivisionError
    assert (["team.create"], ["seat.create"]) == (one.actions(), two.actions())
    assert sorted(e["event_id"] for e in one.events() + two.events()) == sorted(one.announced())
    two.check()


@pytest.mark.filterwarnings("ignore:transaction already deassociated")  # SQLAlchemy's own
def test_one_of_two_databases_that_refuses_its_commit_announces_nothing(
    world: World, other: Engine
) -> None:
    """Without two-phase commit the other may have committed; only its rows are announced."""
    one, two = two_binds(world, other)
    with one.request(), one.sessions() as session:
        session.add_all([Team(name="a"), Pledge(person_id=99)])
        session.flush()
        with pytest.raises(SQLAlchemyError):
            session.commit()
        session.rollback()
    assert [] == two.events()
    committed = {event["event_id"] for event in one.events()}
    assert committed >= set(one.announced())
    assert len(teams(one)) == len(committed)


# --- Two-phase commit ----------------------------------------------------------------------------


@pytest.fixture
def twophase(postgresql_engine: Engine) -> World:
    """PostgreSQL, with sessions that commit in two phases."""
    world = make_world(postgresql_engine)
    world.sessions.configure(twophase=True)
    with world.engine.connect() as connection:
        allowed = connection.scalar(text("SHOW max_prepared_transactions"))
    assert "0" != allowed, "start the test server with max_prepared_transactions above 0"
    return world


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("ending", ["commit", "rollback", "close"])
def test_a_two_phase_session_announces_at_its_second_phase(
    twophase: World, ending: str, *, prepared: bool
) -> None:
    """Prepared is not committed: its rows may still be rolled back."""
    with twophase.request(), twophase.sessions() as session:
        session.add(Team(name="a"))
        session.flush()
        if prepared:
            session.prepare()
            assert [] == announced_now()
        getattr(session, ending)()
        session.add(Team(name="later"))
        session.commit()
    assert (["a", "later"] if ending == "commit" else ["later"]) == teams(twophase)
    assert teams(twophase) == new_names(twophase)
    twophase.check()


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_two_phase_transaction_of_a_connection_is_the_same(
    twophase: World, ending: str, *, prepared: bool
) -> None:
    """`begin_twophase` without a session."""
    with twophase.request(), twophase.engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(insert(Team).values(name="a"))
        if prepared:
            transaction.prepare()
            assert [] == announced_now()
        getattr(transaction, ending)()
    assert (["a"] if ending == "commit" else []) == new_names(twophase)
    twophase.check()


@pytest.mark.parametrize("ending", ["commit_prepared", "rollback_prepared"])
def test_prepared_transaction_ended_by_another_connection_keeps_its_row(
    twophase: World, ending: str
) -> None:
    """Its connection is lost and a recovery decides: the row goes with the change.

    The recovery has no span of the change; the log record tells of it.
    """
    twophase.counts_span_events = False
    with twophase.request(), twophase.engine.connect() as connection:
        transaction = connection.begin_twophase("recovered")
        connection.execute(insert(Team).values(name="a"))
        transaction.prepare()
        connection.invalidate()
        with suppress(SQLAlchemyError):
            transaction.close()
        assert [] == announced_now()
    with twophase.engine.connect() as connection:
        assert ["recovered"] == connection.recover_twophase()
        getattr(connection, ending)("recovered", recover=True)
    assert (["a"] if ending == "commit_prepared" else []) == teams(twophase)
    assert teams(twophase) == new_names(twophase)
    assert [] == twophase.announced()
    twophase.check()


# --- Bare connections ----------------------------------------------------------------------------


def test_transactions_of_a_connection_are_each_their_own(world: World) -> None:
    """`engine.begin()`, commit as you go, savepoints and rollbacks, without any session."""
    with world.request():
        with world.engine.begin() as connection:
            connection.execute(insert(Team).values(name="a"))
            with connection.begin_nested() as savepoint:
                connection.execute(insert(Team).values(name="lost"))
                savepoint.rollback()
        with world.engine.connect() as connection:
            connection.execute(insert(Team), [{"name": "b"}, {"name": "c"}])
            assert 1 == len(announced_now())
            connection.commit()
            assert 3 == len(announced_now())
            connection.execute(insert(Team).values(name="lost"))
            connection.rollback()
            connection.execute(insert(Team).values(name="d"))
            connection.commit()
            connection.execute(insert(Team).values(name="closed"))
    assert ["a", "b", "c", "d"] == teams(world) == new_names(world)
    ids = [row.tx_id for row in world.rows()]
    assert ids[1] == ids[2]
    assert 3 == len(set(ids))


def test_an_exception_in_a_connections_block_leaves_nothing(world: World) -> None:
    """`engine.begin()` rolls back; its rows are neither there nor announced later."""
    with world.request():
        with suppress(ZeroDivisionError), world.engine.begin() as connection:
            connection.execute(insert(Team).values(name="lost"))
            raise ZeroDivisionError
        with world.engine.begin() as connection:
            connection.execute(insert(Team).values(name="kept"))
    assert ["kept"] == new_names(world)


def test_strict_a_connection_needs_an_actor_too(world: World) -> None:
    """The statement is refused before it runs, and the rest of the transaction can commit."""
    with world.engine.begin() as connection:
        connection.execute(insert(Plain).values(name="with it"))
        with pytest.raises(MissingActorError, match="audit_context"):
            connection.execute(insert(Team).values(name="nobody"))
    with world.engine.connect() as connection:
        assert ["with it"] == list(connection.scalars(select(Plain.name)))
    assert [] == teams(world) == world.rows()


def test_pooled_connection_keeps_no_captured_changes(world: World) -> None:
    """After a close without a commit, the next user of the connection announces nothing of it."""
    with world.request():
        for _ in range(3):
            connection = world.engine.connect()
            connection.execute(insert(Team).values(name="lost"))
            connection.close()
        with world.engine.begin() as connection:
            connection.execute(insert(Team).values(name="kept"))
    assert ["kept"] == new_names(world)


def test_invalidated_connection_keeps_no_captured_changes(world: World) -> None:
    """Invalidated within its transaction: the rows are gone, and the connection goes on."""
    with world.request(), world.engine.connect() as connection:
        connection.execute(insert(Team).values(name="lost"))
        connection.invalidate()
        connection.rollback()
        connection.execute(insert(Team).values(name="kept"))
        connection.commit()
    assert ["kept"] == teams(world) == new_names(world)


# --- No transaction at all -----------------------------------------------------------------------


def autocommit_engine(engine: Engine) -> Engine:
    return create_engine(engine.url, isolation_level="AUTOCOMMIT")


def autocommit_option(engine: Engine) -> Engine:
    return create_engine(engine.url).execution_options(isolation_level="AUTOCOMMIT")


def autocommit_driver(engine: Engine) -> Engine:
    sqlite = engine.dialect.name == "sqlite"
    arguments: dict[str, Any] = {"isolation_level": None} if sqlite else {"autocommit": True}
    return create_engine(engine.url, connect_args=arguments)


def by_objects(session: Session) -> None:
    session.add(Team(name="a"))
    session.flush()


def by_statement(session: Session) -> None:
    session.execute(insert(Team).values(name="a"))


def by_text(session: Session) -> None:
    session.execute(text("INSERT INTO team (name) VALUES ('a')"))


ENGINES = pytest.mark.parametrize("made", [autocommit_engine, autocommit_option, autocommit_driver])
WRITERS = pytest.mark.parametrize("write", [by_objects, by_statement, by_text])


def require_recorded_by_the_worker(world: World) -> None:
    """Nothing is recorded before the worker has come by, and exactly the one row afterwards."""
    assert [] == world.events()
    worker = Undrained(world.engine, world.trail.tables, mac_key=KEY)
    assert [1, 0] == [worker.record(), worker.record()]
    (event_,) = world.events()
    told = (event_["action"], event_["actor"]["type"], event_["changes"]["name"])
    assert ("team.create", "database", {"new": "a"}) == told
    assert [] == world.announced()
    world.counts_span_events = False
    world.check()


@ENGINES
@WRITERS
def test_writes_of_an_autocommit_engine_are_recorded_by_the_worker(
    engine: Engine, made: Callable[[Engine], Engine], write: Callable[[Session], None]
) -> None:
    """Whichever way it was put into AUTOCOMMIT, each statement has committed by itself."""
    used = made(engine)
    world = make_world(used)
    with world.request(), world.sessions() as session:
        write(session)
        session.rollback()
    assert ["a"] == teams(world)
    require_recorded_by_the_worker(make_world(engine))
    used.dispose()


@pytest.fixture
def unbegun(engine: Engine) -> Iterator[World]:
    """An engine whose transactions are those of SQLAlchemy alone, without a listener's BEGIN."""
    plain = create_engine(engine.url)
    yield make_world(plain)
    plain.dispose()


@WRITERS
def test_writes_of_an_autocommit_session_are_recorded_by_the_worker(
    unbegun: World, write: Callable[[Session], None]
) -> None:
    """Only the connection of this session is without transactions."""
    world = unbegun
    with world.request(), world.sessions() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        assert [] == session.scalars(select(Team)).all()
        session.execute(insert(Plain).values(name="not audited"))
        write(session)
        session.rollback()
    assert ["a"] == teams(world)
    require_recorded_by_the_worker(world)


@pytest.mark.parametrize("unaudited", [False, True], ids=["captured", "unaudited"])
def test_writes_of_an_autocommit_connection_are_recorded_by_the_worker(
    unbegun: World, *, unaudited: bool
) -> None:
    """Row by row also inside `unaudited`, whose reason no transaction has kept."""
    world = unbegun
    with world.request(), world.engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        with world.trail.unaudited(reason="x") if unaudited else nullcontext():
            connection.execute(insert(Team).values(name="a"))
        connection.rollback()
    require_recorded_by_the_worker(world)


@ENGINES
def test_an_event_on_an_autocommit_connection_is_refused(
    engine: Engine, made: Callable[[Engine], Engine]
) -> None:
    """It would not share the fate of the caller's transaction, as `record` promises."""
    used = made(engine)
    world = make_world(used)
    with world.request(), world.sessions() as session:
        with pytest.raises(AuditConfigError, match="AUTOCOMMIT"):
            world.trail.record(session, "team.exported")
        session.rollback()
    assert [] == world.events()
    used.dispose()


# --- SQLite as SQLAlchemy opens it ---------------------------------------------------------------


@pytest.fixture
def legacy(sqlite_engine: Engine) -> Iterator[World]:
    """A plain `create_engine`, whose driver begins a transaction at the first INSERT only."""
    engine = create_engine(sqlite_engine.url)
    yield make_world(engine)
    engine.dispose()


@pytest.mark.parametrize(
    "ending", ["commit", "rollback", pytest.param("close", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("inner", ["commit", "rollback"])
@pytest.mark.parametrize("first", ["nothing", "select", "insert"])
@pytest.mark.parametrize("write", [by_objects, by_statement])
def test_savepoints_in_the_legacy_mode_are_part_of_their_transaction(
    legacy: World, first: str, inner: str, ending: str, write: Callable[[Session], None]
) -> None:
    """A savepoint that comes first would be a transaction of its own for this driver."""
    with legacy.request(), legacy.sessions() as session:
        if first == "select":
            session.scalars(select(Team)).all()
        if first == "insert":
            session.add(Team(name="first"))
            session.flush()
        savepoint = session.begin_nested()
        write(session)
        getattr(savepoint, inner)()
        session.add(Team(name="after"))
        getattr(session, ending)()
    expected = ["first"] * (first == "insert") + ["a"] * (inner == "commit") + ["after"]
    assert (expected if ending == "commit" else []) == teams(legacy) == new_names(legacy)
    legacy.check()


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_legacy_savepoints_of_a_connection_are_part_of_its_transaction(
    legacy: World, ending: str
) -> None:
    """The same without a session."""
    with legacy.request(), legacy.engine.connect() as connection:
        with connection.begin_nested():
            connection.execute(insert(Team).values(name="a"))
        getattr(connection, ending)()
    assert (["a"] if ending == "commit" else []) == teams(legacy) == new_names(legacy)
    legacy.check()


def test_the_legacy_mode_without_savepoints_works(legacy: World) -> None:
    """The tutorial's `create_engine("sqlite:///…")` needs no settings for ordinary work."""
    with legacy.unit_of_work() as session:
        session.scalars(select(Team)).all()
        session.add(Team(name="a"))
        session.flush()
        session.execute(update(Team).values(name="b"))
    with suppress(ZeroDivisionError), legacy.unit_of_work() as session:
        session.add(Team(name="lost"))
        session.flush()
        raise ZeroDivisionError
    assert ["b"] == teams(legacy)
    assert ["team.create", "team.update"] == legacy.actions()
    legacy.check()


# --- A row that could not be written -------------------------------------------------------------


def core(session: Session) -> None:
    session.connection().execute(insert(Team).values(name="a"))


def uncounted(session: Session) -> None:
    with AuditTrail.unaudited(reason="x"):
        session.execute(text("INSERT INTO team (name) VALUES ('a')"))


@pytest.mark.parametrize("write", [by_objects, by_statement, by_text, core, uncounted])
@pytest.mark.parametrize(
    "at",
    [
        "the session",
        pytest.param("its connection", marks=pytest.mark.slow),
        "the outer transaction",
    ],
)
def test_commit_after_a_swallowed_audit_failure_is_refused(
    world: World, write: Callable[[Session], None], at: str
) -> None:
    """The first commit that reaches the database fails, and a second one commits nothing."""
    with world.request(), world.engine.connect() as connection:
        outer = connection.begin()
        mode: Mode = "control_fully" if at == "the session" else "rollback_only"
        with world.sessions(bind=connection, join_transaction_mode=mode) as session:
            session.execute(insert(Plain).values(name="first"))
            connection.execute(text(REFUSING[connection.dialect.name][0]))
            write(session)
            session.flush()
            commit: Any = {
                "the session": session.commit,
                "its connection": connection.commit,
                "the outer transaction": outer.commit,
            }[at]
            with pytest.raises(AuditWriteError):
                commit()
            with suppress(AuditError, SQLAlchemyError):
                commit()
            with suppress(InvalidRequestError):
                session.rollback()
        end(outer, "rollback")
    with world.engine.connect() as connection:
        assert [] == list(connection.scalars(select(Plain.name)))
    assert [] == teams(world) == world.rows()


def test_a_connection_whose_commit_failed_works_again_after_its_rollback(world: World) -> None:
    """The refusal belongs to the transaction, not to the connection."""
    with world.request(), world.engine.connect() as connection:
        connection.execute(text(REFUSING[connection.dialect.name][0]))
        connection.execute(insert(Team).values(name="lost"))
        with pytest.raises(AuditWriteError):
            connection.commit()
        connection.rollback()
        connection.execute(insert(Team).values(name="kept"))
        connection.commit()
    assert ["kept"] == teams(world) == new_names(world)


# --- Serialization failures ----------------------------------------------------------------------


@pytest.fixture(params=["REPEATABLE READ", "SERIALIZABLE"])
def isolated(request: pytest.FixtureRequest, postgresql_engine: Engine) -> Iterator[World]:
    """PostgreSQL with transactions that fail where they would have to wait and see."""
    world = make_world(postgresql_engine.execution_options(isolation_level=request.param))
    yield world
    world.check()


def rename(session: Session, name: str) -> None:
    session.scalars(select(Team)).one().name = name
    session.flush()


def rename_in_bulk(session: Session, name: str) -> None:
    session.execute(update(Team).values(name=name))


@pytest.mark.parametrize("change", [rename, rename_in_bulk])
def test_a_failed_attempt_leaves_no_row_and_a_retry_its_own(
    isolated: World, change: Callable[[Session, str], None]
) -> None:
    """The caller gets the database's own error, which says that it may try again."""
    with isolated.unit_of_work() as session:
        session.add(Team(name="0"))
    with isolated.request(), isolated.sessions() as slow:
        assert "0" == slow.scalars(select(Team.name)).one()
        with isolated.unit_of_work() as quick:
            change(quick, "quick")
        with pytest.raises(OperationalError) as refusal:
            change(slow, "slow")
        original: Any = refusal.value.orig
        assert "40001" == original.sqlstate
        slow.rollback()
        change(slow, "slow")
        slow.commit()
    changes = [event["changes"]["name"] for event in isolated.events()[1:]]
    assert [{"old": "0", "new": "quick"}, {"old": "quick", "new": "slow"}] == changes
    assert 3 == len({row.tx_id for row in isolated.rows()})


def test_concurrent_retries_leave_one_row_for_each_success(isolated: World) -> None:
    """Four threads count to forty together; every attempt that failed is gone without a trace."""
    with isolated.unit_of_work() as session:
        session.add(Seat(row="a", number=0))
        session.add(Team(name="0"))
    failures: list[BaseException] = []

    def attempt() -> bool:
        try:
            with isolated.unit_of_work() as session:
                team = session.scalars(select(Team)).one()
                team.name = str(int(team.name) + 1)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != "40001":
                raise
            return False
        return True

    def count() -> None:
        try:
            for _ in range(10):
                while not attempt():
                    pass
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures
    assert ["40"] == teams(isolated)
    updates = [one for one in isolated.events() if one["action"] == "team.update"]
    assert [str(number) for number in range(1, 41)] == [
        one["changes"]["name"]["new"] for one in updates
    ]


def test_a_commit_that_fails_to_serialize_announces_nothing(postgresql_engine: Engine) -> None:
    """Write skew is found as late as at COMMIT, and the error is the database's own."""
    world = make_world(postgresql_engine.execution_options(isolation_level="SERIALIZABLE"))
    with world.request(), world.sessions() as one, world.sessions() as two:
        for session, number in ((one, 1), (two, 2)):
            assert [] == session.scalars(select(Seat)).all()
            session.add(Seat(row="a", number=number))
            session.flush()
        one.commit()
        with pytest.raises(OperationalError) as refusal:
            two.commit()
        original: Any = refusal.value.orig
        assert "40001" == original.sqlstate
        two.rollback()
    assert ["seat.create"] == world.actions()
    world.check()


@pytest.mark.parametrize("state", ["40001", "40P01"])
@pytest.mark.parametrize("by", ["commit", "event"])
def test_an_audit_row_that_fails_to_serialize_asks_for_a_retry(
    postgresql_engine: Engine, state: str, by: str
) -> None:
    """If the INSERT into the audit table is the victim, the caller gets that error as well."""
    world = make_world(postgresql_engine)
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE SQLSTATE '{state}'; END $$;"
            "CREATE TRIGGER lose BEFORE INSERT ON audit_event EXECUTE FUNCTION lose()"
        )
    with world.request(), world.sessions() as session:
        session.add(Team(name="lost"))
        session.flush()
        with pytest.raises(OperationalError) as refusal:
            session.commit() if by == "commit" else world.trail.record(session, "team.exported")
        original: Any = refusal.value.orig
        assert state == original.sqlstate
        with suppress(AuditError, SQLAlchemyError):
            session.commit()
        session.rollback()
    assert [] == teams(world) == world.rows()


def test_a_hook_that_commits_the_connection_directly_is_seen(world: World) -> None:
    """Rows are announced by whichever object commits; here the connection under a session."""
    with world.request(), world.sessions() as session:
        session.add(Team(name="a"))
        session.flush()
        session.connection().commit()
        with suppress(SQLAlchemyError):
            session.commit()
    assert ["a"] == teams(world) == new_names(world)


def test_listeners_that_come_before_the_trail_do_not_matter(engine: Engine) -> None:
    """A listener of the application that writes in `after_flush` has its row as well."""
    sessions = sessionmaker(engine)

    def also(session: Session, _context: object) -> None:
        if any(isinstance(one, Team) for one in session.new):
            session.connection().execute(insert(Seat).values(row="a", number=1))

    event.listen(sessions, "after_flush", also)
    world = make_world(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata, mac_key=KEY)
    with world.request(), sessions.begin() as session:
        session.add(Team(name="a"))
    assert ["seat.create", "team.create"] == sorted(world.actions())
    assert trail is not world.trail
    world.check()
