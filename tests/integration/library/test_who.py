"""Actors of changes: in threads, tasks, forks and jobs, each row names its own."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Engine, event, insert, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from auditspan import (
    Actor,
    AuditConfigError,
    AuditError,
    AuditTrail,
    MissingActorError,
    Target,
    audit_context,
    carry_context,
)
from integration.library.models import Base, Seat, Team
from integration.library.world import KEY, KIM, World, make_world

THREADS = 16
COMMITS = [50, pytest.param(150, marks=pytest.mark.slow)]
LEE = Actor.user(9, label="lee")


def actors(world: World) -> list[dict[str, Any]]:
    """The actors of all rows."""
    return [event["actor"] for event in world.events()]


def actor_ids(world: World) -> list[str | None]:
    """Their ids."""
    return [actor["id"] for actor in actors(world)]


def add_team(world: World, name: str = "a") -> None:
    """Record a change by the current actor."""
    with world.sessions.begin() as session:
        session.add(Team(name=name))


def in_threads(works: list[Callable[[], None]]) -> list[BaseException]:
    """Run each in a thread of its own, all at once; the exceptions that came out."""
    failures: list[BaseException] = []
    ready = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        try:
            ready.wait()
            work()
        except BaseException as error:  # noqa: BLE001 - the test tells them
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


# --- Threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", COMMITS)
def test_sixteen_threads_leave_a_row_for_each_commit(world: World, commits: int) -> None:
    """Each row is by its thread's actor, none is missing, and nothing is raised."""

    def worker(number: int) -> Callable[[], None]:
        def work() -> None:
            with audit_context(actor=Actor.user(number, label=f"user {number}")):
                for turn in range(commits):
                    with (
                        world.tracer.start_as_current_span(f"{number} {turn}"),
                        world.sessions.begin() as session,
                    ):
                        session.add(Team(name=f"{number}"))

        return work

    assert [] == in_threads([worker(number) for number in range(THREADS)])
    events = world.events()
    assert THREADS * commits == len(events) == len({one["tx_id"] for one in events})
    assert {str(n): commits for n in range(THREADS)} == Counter(actor_ids(world))
    assert all(one["actor"]["id"] == one["changes"]["name"]["new"] for one in events)
    spans = {
        trace.format_span_id(span.context.span_id): span.name.partition(" ")[0]
        for span in world.exporter.get_finished_spans()
    }
    assert all(spans[one["span_id"]] == one["actor"]["id"] for one in events)


def test_threads_that_change_the_same_record_leave_its_history(world: World) -> None:
    """Core statements of many threads on one row: every old value is the new one before it."""
    with world.unit_of_work() as session:
        session.add(Team(name=""))

    def worker(number: int) -> Callable[[], None]:
        def work() -> None:
            for _ in range(10):
                with (
                    audit_context(actor=Actor.user(number)),
                    world.tracer.start_as_current_span("work"),
                    world.engine.begin() as connection,
                ):
                    connection.execute(update(Team).values(name=Team.name + f"{number}"))

        return work

    assert [] == in_threads([worker(number) for number in range(6)])
    changes = [(one["actor"]["id"], one["changes"]["name"]) for one in world.events()[1:]]
    assert 60 == len(changes)
    assert all(change["new"] == change["old"] + actor for actor, change in changes)


def test_a_thread_begins_without_an_actor(world: World) -> None:
    """A thread without a carried context has no actor: strict refuses."""
    with world.request():
        (error,) = in_threads([lambda: add_team(world)])
    assert isinstance(error, MissingActorError)
    assert [] == world.rows()


# --- Tasks ---------------------------------------------------------------------------------------


def async_engine_of(engine: Engine) -> AsyncEngine:
    """The same database for `asyncio`; SQLite with transactions that wait for each other."""
    is_sqlite = engine.dialect.name == "sqlite"
    driver = "sqlite+aiosqlite" if is_sqlite else "postgresql+psycopg"
    made = create_async_engine(engine.url.set(drivername=driver))
    if is_sqlite:

        def connect(connection: Any, _record: object) -> None:
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=30000")
            cursor.close()

        event.listen(made.sync_engine, "connect", connect)
        event.listen(
            made.sync_engine,
            "begin",
            lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"),
        )
    return made


def test_each_task_has_its_own_actor(world: World) -> None:
    """Tasks that wait in the middle of their work: every row has the actor and span of its task."""

    async def act(sessions: async_sessionmaker[Any], number: int) -> None:
        with (
            audit_context(actor=Actor.user(number)),
            world.tracer.start_as_current_span(str(number)),
        ):
            for _ in range(5):
                async with sessions.begin() as session:
                    await asyncio.sleep(0)
                    session.add(Team(name=str(number)))
                    await session.flush()
                    await asyncio.sleep(0.001)
                    with audit_context(on_behalf_of=LEE):
                        await session.execute(insert(Team).values(name=str(number)))

    async def act_all() -> None:
        engine = async_engine_of(world.engine)
        sessions = async_sessionmaker(engine)
        AuditTrail(sessions, metadata=Base.metadata, mac_key=KEY)
        await asyncio.gather(*(act(sessions, number) for number in range(8)))
        await engine.dispose()

    asyncio.run(act_all())
    spans = {
        trace.format_span_id(span.context.span_id): span.name
        for span in world.exporter.get_finished_spans()
    }
    events = world.events()
    assert {str(n): 10 for n in range(8)} == Counter(actor_ids(world))
    for one in events:
        assert one["actor"]["id"] == one["changes"]["name"]["new"] == spans[one["span_id"]]
    assert 40 == sum(one["on_behalf_of"] is not None for one in events)


def test_task_inherits_the_actor_of_its_creator(world: World) -> None:
    """As context variables do: a task and `asyncio.to_thread` begin with their maker's context."""

    async def act() -> None:
        with audit_context(actor=KIM):
            task = asyncio.create_task(asyncio.to_thread(add_team, world))
        with audit_context(actor=LEE):
            await task

    world.counts_span_events = False
    asyncio.run(act())
    assert ["7"] == actor_ids(world)


# --- Forks ---------------------------------------------------------------------------------------


def in_child(work: Callable[[], None]) -> int:
    """Run it in a fork of this process; its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have left threads
        pid = os.fork()
    if pid == 0:
        status = 1
        with suppress(BaseException):
            work()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_writes_its_own_rows_and_none_of_its_parents(world: World) -> None:
    """The child has the trail and the context; what the parent has not committed is not its own."""
    world.counts_span_events = False
    with audit_context(actor=KIM):
        add_team(world, "before")
        session = world.sessions()
        if world.engine.dialect.name == "postgresql":  # SQLite has one writer, which would wait
            session.add(Team(name="pending"))
            session.flush()

        def child() -> None:
            world.engine.dispose(close=False)
            add_team(world, "inherited")
            with audit_context(actor=LEE):
                add_team(world, "own")

        assert 0 == in_child(child)
        session.commit()
        add_team(world, "after")
    found = [
        (one["changes"]["name"]["new"], one["actor"]["id"])
        for one in world.events()
        if one["changes"]["name"]["new"] != "pending"
    ]
    assert [("before", "7"), ("inherited", "7"), ("own", "9"), ("after", "7")] == found
    assert len(world.rows()) == len({row.event_id for row in world.rows()})


def test_forks_that_write_at_once_have_ids_of_their_own(world: World) -> None:
    """Event and transaction ids of children that began alike do not repeat."""
    world.counts_span_events = False
    with audit_context(actor=KIM):
        for _ in range(4):

            def child() -> None:
                world.engine.dispose(close=False)
                for _ in range(5):
                    add_team(world)

            assert 0 == in_child(child)
    rows = world.rows()
    assert 20 == len(rows) == len({row.event_id for row in rows}) == len({r.tx_id for r in rows})


# --- Contexts ------------------------------------------------------------------------------------


def test_an_inner_context_ends_with_its_block(world: World) -> None:
    """The outer actor is back afterwards, also when the block ended with an exception."""
    with world.request():
        add_team(world)
        with audit_context(actor=LEE):
            add_team(world)
            with suppress(ZeroDivisionError), audit_context(actor=Actor.system("x")):
                add_team(world)
                raise ZeroDivisionError
            add_team(world)
        add_team(world)
    with pytest.raises(MissingActorError):
        add_team(world)
    assert ["7", "9", "x", "9", "7"] == actor_ids(world)


def test_a_failed_change_in_an_inner_context_restores_the_outer_one(world: World) -> None:
    """Also when it was the trail's own refusal that ended the block."""
    with world.request():
        with (
            suppress(AuditError),
            audit_context(actor=LEE),
            world.sessions.begin() as session,
        ):
            session.add(Team(name="lost"))
            session.flush()
            world.trail.record(session, "no action")
        add_team(world)
    assert ["7"] == actor_ids(world)


def test_the_actor_is_the_one_at_the_change(world: World) -> None:
    """Two actors in one transaction: each flush and statement has who acted then."""
    with world.request(), world.sessions.begin() as session:
        session.add(Team(name="kim"))
        session.flush()
        with audit_context(actor=LEE):
            session.add(Team(name="lee"))
            session.flush()
            session.execute(insert(Team).values(name="lee"))
        session.execute(insert(Team).values(name="kim"))
    assert ["kim", "lee", "lee", "kim"] == [actor["label"] for actor in actors(world)]
    assert 1 == len({row.tx_id for row in world.rows()})


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (Actor.user(7, label="kim"), {"type": "user", "id": "7", "label": "kim"}),
        (Actor.user("u-7"), {"type": "user", "id": "u-7", "label": None}),
        (Actor.service("billing"), {"type": "service", "id": "billing", "label": "billing"}),
        (Actor.system("nightly"), {"type": "system", "id": "nightly", "label": "nightly"}),
        (Actor.anonymous(), {"type": "anonymous", "id": None, "label": None}),
        (Actor.unknown(), {"type": "unknown", "id": None, "label": None}),
    ],
    ids=lambda value: value.type if isinstance(value, Actor) else "",
)
def test_each_type_of_actor_is_its_own(
    world: World, actor: Actor, expected: dict[str, Any]
) -> None:
    """User, service, system, anonymous and unknown are five things, in body, column and span."""
    with world.tracer.start_as_current_span("request"), audit_context(actor=actor):
        add_team(world)
        with world.engine.begin() as connection:
            connection.execute(insert(Team).values(name="b"))
    (row, _) = world.rows()
    assert [expected, expected] == actors(world)
    assert (expected["type"], expected["id"]) == (row.actor_type, row.actor_id)
    attributes: Any = world.span_events()[0].attributes
    assert expected["type"] == attributes["audit.actor.type"]
    assert expected["id"] == attributes.get("audit.actor.id")


def test_on_behalf_of_is_independent_of_the_actor(world: World) -> None:
    """It nests and ends as the actor does, and may be said without naming the actor again."""
    with world.request():
        with audit_context(on_behalf_of=LEE):
            add_team(world)
            with audit_context(on_behalf_of=Actor.service("shop"), actor=Actor.system("job")):
                add_team(world)
            add_team(world)
        add_team(world)
    seen = [
        (one["actor"]["id"], one["on_behalf_of"] and one["on_behalf_of"]["id"])
        for one in world.events()
    ]
    assert [("7", "9"), ("job", "shop"), ("7", "9"), ("7", None)] == seen


def test_rows_keep_the_actor_as_they_were(world: World) -> None:
    """A person who is renamed or gone later is in the old rows as at that time."""
    for label in ("kim", "kim park", None):
        with (
            world.tracer.start_as_current_span("request"),
            audit_context(actor=Actor.user(7, label=label)),
        ):
            add_team(world)
    assert [("7", "kim"), ("7", "kim park"), ("7", None)] == [
        (actor["id"], actor["label"]) for actor in actors(world)
    ]


def test_an_actor_that_is_a_function_is_asked_at_each_change(world: World) -> None:
    """A request learns who it is from after its beginning."""
    current = [Actor.anonymous()]
    with world.tracer.start_as_current_span("request"), audit_context(actor=lambda: current[0]):
        add_team(world)
        current[0] = KIM
        add_team(world)
    assert ["anonymous", "user"] == [actor["type"] for actor in actors(world)]


@pytest.fixture
def lenient(world: World) -> World:
    """The application where it is not strict."""
    world.counts_span_events = False
    return make_world(world.engine, strict=False)


def test_lenient_records_unknown_however_it_is_written(lenient: World) -> None:
    """Objects, statements, text, counts and events: an actor of type unknown, and no refusal."""
    add_team(lenient)
    with lenient.engine.begin() as connection:
        connection.execute(insert(Team).values(name="b"))
    with audit_context(reason="no actor"), lenient.sessions.begin() as session:
        session.execute(update(Team).values(name="c"))
        lenient.trail.record(session, "team.exported")
        session.execute(text("DELETE FROM team WHERE id = 1"))
        with lenient.trail.unaudited(reason="too many"):
            session.execute(insert(Seat).values(row="a", number=1, taken=False))
            session.execute(text("DELETE FROM seat"))
    lenient.trail.record_durable("login.failed")
    assert {"unknown"} == {actor["type"] for actor in actors(lenient)}
    expected = ["team.create"] * 2 + ["team.update"] * 2 + ["team.delete"]
    expected += ["seat.statement"] * 2
    assert sorted([*expected, "team.exported", "login.failed"]) == sorted(lenient.actions())


def test_lenient_records_the_actor_where_there_is_one(lenient: World) -> None:
    """Without strictness, an actor that is set is recorded as ever."""
    with audit_context(actor=KIM):
        add_team(lenient)
    assert ["7"] == actor_ids(lenient)


# --- Jobs ----------------------------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Exporter of the spans of jobs, which the application's provider makes."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in ("carried", "context"):
        tracer = provider.get_tracer("auditspan")
        monkeypatch.setattr(f"auditspan.context.{module}._tracer", tracer)
    yield exporter
    provider.shutdown()


def is_linked(job: ReadableSpan, origin: trace.SpanContext) -> bool:
    """Return whether a job's trace is its own, with a link to its origin."""
    (link,) = job.links
    assert job.context is not None
    return (
        job.parent is None
        and job.context.trace_id != origin.trace_id
        and (link.context.trace_id, link.context.span_id) == (origin.trace_id, origin.span_id)
    )


def test_a_job_acts_for_who_began_it(world: World, spans: InMemorySpanExporter) -> None:
    """In a thread, after the request: its actor, reason and tenant, and a link to its trace."""
    world.counts_span_events = False
    with world.request(), audit_context(reason="month end", tenant="acme", on_behalf_of=LEE):
        origin = trace.get_current_span().get_span_context()
        carried = carry_context()
    with ThreadPoolExecutor(max_workers=2) as executor:
        for name in ("a", "b"):
            executor.submit(carried.run, add_team, world, name=name).result()
    for one, job in zip(world.events(), spans.get_finished_spans(), strict=True):
        assert ("7", "9", "month end", "acme") == (
            one["actor"]["id"],
            one["on_behalf_of"]["id"],
            one["reason"],
            one["tenant"],
        )
        assert job.context is not None
        assert trace.format_trace_id(job.context.trace_id) == one["trace_id"]
        assert [one["event_id"]] == [
            (event.attributes or {})["audit.record.id"] for event in job.events
        ]
        assert is_linked(job, origin)


def test_jobs_at_once_have_a_context_each(world: World, spans: InMemorySpanExporter) -> None:
    """Contexts of several requests in one pool of threads do not mix."""
    world.counts_span_events = False
    with ThreadPoolExecutor(max_workers=4) as executor:
        jobs = []
        for number in range(12):
            with audit_context(actor=Actor.user(number)):
                jobs.append(executor.submit(carry_context().run, add_team, world, str(number)))
        for job in jobs:
            job.result()
    events = world.events()
    assert 12 == len(events) == len(spans.get_finished_spans())
    assert all(one["actor"]["id"] == one["changes"]["name"]["new"] for one in events)


def test_a_block_may_be_attached(world: World, spans: InMemorySpanExporter) -> None:
    """For jobs other than functions: the former context is restored, however the job ends."""
    world.counts_span_events = False
    with world.request():
        carried = carry_context()
        origin = trace.get_current_span().get_span_context()
    with audit_context(actor=LEE):
        with carried.attached("import"):
            add_team(world)
        with suppress(ZeroDivisionError), carried.attached("broken"):
            raise ZeroDivisionError
        add_team(world)
    assert not trace.get_current_span().get_span_context().is_valid
    assert ["7", "9"] == actor_ids(world)
    finished = spans.get_finished_spans()
    assert ["import", "broken"] == [span.name for span in finished]
    assert all(is_linked(span, origin) for span in finished)


def test_a_job_gives_back_what_its_function_gives(spans: InMemorySpanExporter) -> None:
    """Its result or its exception, as if it had been called directly; without a trace no link."""
    carried = carry_context()
    assert "1-2" == carried.run("{}-{b}".format, 1, b=2)
    lost: dict[str, str] = {}
    with pytest.raises(KeyError, match="lost"):
        carried.run(lost.__getitem__, "lost")
    assert [(), ()] == [tuple(span.links) for span in spans.get_finished_spans()]


def test_a_job_keeps_the_actor_that_was(world: World, spans: InMemorySpanExporter) -> None:
    """An actor that is a function is asked when the context is copied, not after the request."""
    world.counts_span_events = False
    current = [KIM]
    with audit_context(actor=lambda: current[0]):
        carried = carry_context()
    current[0] = LEE
    carried.run(add_team, world)
    assert ["7"] == actor_ids(world)
    assert 1 == len(spans.get_finished_spans())


def test_job_without_an_actor_is_refused(world: World, spans: InMemorySpanExporter) -> None:
    """A copy of no context has no actor: strict refuses, also inside another block."""
    carried = carry_context()
    with audit_context(actor=LEE), pytest.raises(MissingActorError):
        carried.run(add_team, world)
    assert 1 == len(spans.get_finished_spans())


def test_pythons_own_copy_of_a_context_will_do(world: World) -> None:
    """`contextvars.copy_context()` carries the actor and the request's span itself."""
    with world.request(), ThreadPoolExecutor() as executor:
        executor.submit(contextvars.copy_context().run, add_team, world).result()
    assert ["7"] == actor_ids(world)


# --- Explicit events -----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["rollback", "close", "commit"])
def test_a_durable_event_outlives_its_callers_rollback(world: World, ending: str) -> None:
    """It is there when the call returns, in a transaction of its own, and announced."""
    is_postgresql = world.engine.dialect.name == "postgresql"
    with world.request():
        session = world.sessions()
        if is_postgresql:  # SQLite has one writer, and this would be the second
            session.add(Team(name="a"))
            session.flush()
        event_id = world.trail.record_durable(
            "login.failed",
            target=Target(type="user", id="7"),
            outcome="failure",
            reason="bad password",
            metadata={"attempt": 3},
        )
        assert event_id in [one["event_id"] for one in world.events()]
        getattr(session, ending)()
        session.close()
    (durable,) = [one for one in world.events() if one["action"] == "login.failed"]
    assert event_id == durable["event_id"]
    assert ("failure", "bad password", {"attempt": 3}, "7") == (
        durable["outcome"],
        durable["reason"],
        durable["metadata"],
        durable["actor"]["id"],
    )
    assert {"type": "user", "id": "7", "version": None} == durable["target"]
    has_team = is_postgresql and ending == "commit"
    assert 1 + has_team == len(world.rows()) == len({row.tx_id for row in world.rows()})


def test_a_durable_event_needs_no_running_transaction(world: World) -> None:
    """Alone, and within an `except` after the rollback, where it is mostly used."""

    def fail() -> None:
        with world.sessions.begin() as session:
            session.add(Team(name="lost"))
            session.flush()
            raise PermissionError

    with world.request():
        try:
            fail()
        except PermissionError as error:
            world.trail.record_durable("team.refused", outcome="failure", reason=repr(error))
    assert [("team.refused", "PermissionError()")] == [
        (one["action"], one["reason"]) for one in world.events()
    ]


def test_strict_refuses_an_event_without_an_actor(world: World) -> None:
    """A durable event and one of a session need an actor as a change does."""
    with pytest.raises(MissingActorError):
        world.trail.record_durable("login.failed")
    with pytest.raises(MissingActorError), world.sessions.begin() as session:
        world.trail.record(session, "login.failed")
    assert [] == world.rows()


@pytest.fixture
def registered(world: World) -> World:
    """The application with a registry of actions."""
    world.counts_span_events = False
    return make_world(world.engine, actions={"invoice.exported", "invoice.paid", "login.failed"})


@pytest.mark.parametrize(
    ("action", "nearest"),
    [
        ("invoice.exportd", "invoice.exported"),
        ("invoices.paid", "invoice.paid"),
        ("login.fail", "login.failed"),
        ("Invoice.Paid", "invoice.paid"),
    ],
)
def test_an_action_that_is_not_registered_is_refused_with_the_nearest(
    registered: World, action: str, nearest: str
) -> None:
    """A typing mistake is a sentence now and not a search without a result later."""
    with registered.request():
        with pytest.raises(AuditConfigError, match=nearest):
            registered.trail.record_durable(action)
        with registered.sessions.begin() as session:
            session.add(Team(name="goes on"))
            with pytest.raises(AuditConfigError, match=nearest):
                registered.trail.record(session, action)
            registered.trail.record(session, nearest)
    assert ["team.create", nearest] == registered.actions()


def test_an_action_like_no_other_is_refused_with_what_to_do(registered: World) -> None:
    """Nothing is near: the sentence says where actions are registered."""
    with pytest.raises(AuditConfigError, match="actions="), registered.request():
        registered.trail.record_durable("zebra.fed")
    assert [] == registered.rows()


def test_changes_need_no_registration(registered: World) -> None:
    """The registry is of explicit events; what capture records is registered by its models."""
    with registered.request(), registered.sessions.begin() as session:
        session.add(Seat(row="a", number=1))
        session.flush()
        session.execute(update(Seat).values(taken=True))
        with registered.trail.unaudited(reason="import"):
            session.execute(text("INSERT INTO team (id, name) VALUES (1, 'a')"))
            session.execute(text("DELETE FROM team"))
    assert ["seat.create", "seat.update"] + ["team.statement"] * 2 == registered.actions()


def test_the_body_is_the_same_as_its_columns(world: World) -> None:
    """The actor is indexed from the body, row by row."""
    for actor in (KIM, Actor.service("shop"), Actor.anonymous()):
        with world.tracer.start_as_current_span("request"), audit_context(actor=actor):
            add_team(world)
    for row in world.rows():
        body = json.loads(row.body)
        assert (row.actor_type, row.actor_id) == (body["actor"]["type"], body["actor"]["id"])
