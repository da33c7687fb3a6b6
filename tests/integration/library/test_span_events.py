"""Span events: one pointer for every committed row, on the span that is current at the commit."""

from __future__ import annotations

import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from auditspan import Actor, audit_context
from integration.library.models import Person, Team
from integration.library.world import KIM, World


def test_an_event_has_the_attributes_of_the_format(world: World) -> None:
    """A pointer to the row: id, action, outcome, target and actor; no value and no label."""
    with world.unit_of_work() as session:
        session.add(Team(name="planted"))
    (found,) = world.span_events()
    assert "audit.team.create" == found.name
    assert {
        "audit.record.id": world.last()["event_id"],
        "audit.action": "team.create",
        "audit.outcome": "success",
        "audit.target.type": "team",
        "audit.target.id": "1",
        "audit.actor.type": "user",
        "audit.actor.id": "7",
    } == dict(found.attributes or {})


def test_events_stand_on_the_span_that_is_current_at_commit(world: World) -> None:
    """Not on that of the flush, which may be long over, and not before the commit."""
    with audit_context(actor=KIM), world.sessions() as session:
        with world.tracer.start_as_current_span("flush"):
            session.add(Team(name="a"))
            session.flush()
        with world.tracer.start_as_current_span("commit"):
            session.commit()
    flushed, committed = world.exporter.get_finished_spans()
    assert [] == list(flushed.events)
    assert ["audit.team.create"] == [one.name for one in committed.events]


def test_a_row_has_the_trace_and_span_of_its_moment(world: World) -> None:
    """Row and span are joined on the trace id; without a span there is none."""
    with world.unit_of_work() as session:
        session.add(Team(name="a"))
    span = world.exporter.get_finished_spans()[0].context
    assert span is not None
    with audit_context(actor=KIM), world.sessions.begin() as session:
        session.add(Team(name="b"))
    inside, outside = world.rows()
    expected = (trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id))
    assert expected == (inside.trace_id, inside.span_id)
    assert (None, None) == (outside.trace_id, outside.span_id)
    world.counts_span_events = False


def test_an_unsampled_span_takes_no_events_and_its_rows_still_name_it(world: World) -> None:
    """Rows, and with them log records, do not depend on sampling."""
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("unsampled")
    with (
        audit_context(actor=KIM),
        tracer.start_as_current_span("request") as span,
        world.sessions.begin() as session,
    ):
        session.add(Team(name="a"))
    assert trace.format_trace_id(span.get_span_context().trace_id) == world.rows()[0].trace_id
    assert [] == world.span_events()
    world.counts_span_events = False


def test_a_span_that_has_ended_takes_nothing_and_breaks_nothing(world: World) -> None:
    """A commit after its span is over is a commit; the log record is the complete account."""
    span = world.tracer.start_span("short")
    with audit_context(actor=KIM), trace.use_span(span), world.sessions() as session:
        session.add(Team(name="a"))
        span.end()
        session.commit()
    assert ["team.create"] == world.actions()
    world.counts_span_events = False


@pytest.mark.parametrize(("rows", "left_out"), [(100, None), (101, 1), (230, 130)])
def test_span_events_over_a_hundred_are_counted(
    world: World, rows: int, left_out: int | None
) -> None:
    """Beyond a hundred rows of a transaction, one `audit.truncated` event has the count."""
    world.counts_span_events = False
    with world.unit_of_work() as session:
        session.add_all([Team(name=str(n)) for n in range(rows - 1)])
        session.flush()
        session.add(Team(name="last"))
    found = world.span_events()
    assert rows == len(world.rows())
    assert ["audit.team.create"] * 100 == [one.name for one in found[:100]]
    assert [event["event_id"] for event in world.events()[:100]] == world.announced()[:100]
    rest = [] if left_out is None else [("audit.truncated", {"audit.truncated.count": left_out})]
    assert rest == [(one.name, dict(one.attributes or {})) for one in found[100:]]


def test_threads_have_their_own_actors_and_lose_nothing(world: World) -> None:
    """Eight threads commit twelve changes each: every row has the actor of its thread."""
    world.counts_span_events = False

    def act(number: int) -> None:
        for turn in range(12):
            with audit_context(actor=Actor.user(number)), world.sessions.begin() as session:
                session.add(Person(name=f"{number}-{turn}"))

    threads = [threading.Thread(target=act, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [(e["actor"]["id"], e["changes"]["name"]["new"]) for e in world.events()]
    assert 96 == len(names)
    assert [] == [name for actor, name in names if not name.startswith(f"{actor}-")]
