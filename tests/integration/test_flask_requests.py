"""The actor of a change, for every way in which Flask enters a request context."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, copy_current_request_context, request, stream_with_context
from flask.testing import FlaskClient
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from auditspan import Actor, AuditTrail, MissingActorError, audit_context, carry_context
from auditspan.flask import AuditExtension
from auditspan.storage.event_filter import EventFilter
from auditspan.storage.events import find_events

JOB = Actor.system("job")


@dataclass
class Site:
    """An audited application and the events of its trail."""

    app: Flask
    client: FlaskClient
    write: Callable[[], None]
    events: Callable[[], list[dict[str, Any]]]

    def post(self, path: str, user: str) -> None:
        """Make a request as this user, and read the whole response."""
        with self.client.post(path, headers={"X-User": user}) as response:
            assert (200, b"done") == (response.status_code, response.data[-4:])

    def actors(self) -> list[str]:
        """Return the id of the actor of each event."""
        return [event["actor"]["id"] for event in self.events()]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Provide an engine on a SQLite file."""
    made = create_engine(f"sqlite:///{tmp_path}/site.db")
    yield made
    made.dispose()


@pytest.fixture
def site(engine: Engine) -> Site:
    """Provide an application whose actor is the user named by the header X-User."""

    class Base(DeclarativeBase): ...

    class Note(Base):
        __tablename__ = "note"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata)
    Base.metadata.create_all(engine)
    app = Flask(__name__)
    app.testing = True
    AuditExtension(trail, actor=lambda: Actor.user(request.headers["X-User"])).init_app(app)

    def write() -> None:
        with sessions.begin() as session:
            session.add(Note())

    def events() -> list[dict[str, Any]]:
        with engine.connect() as connection:
            found = find_events(connection, trail.tables, EventFilter(), after=0, limit=100)
            return [event.resource() for event in found]

    @app.post("/write")
    def plain() -> str:
        write()
        return "done"

    return Site(app, app.test_client(), write, events)


def refuses(site: Site) -> bool:
    """Report whether a write is refused here for lack of an actor."""
    try:
        site.write()
    except MissingActorError:
        return True
    return False


def test_request_inside_a_request_leaves_the_outer_actor_in_place(site: Site) -> None:
    """Each of two nested requests has its own actor, also under one application context."""

    @site.app.post("/outer")
    def outer() -> str:
        site.app.test_client().post("/write", headers={"X-User": "inner"})
        site.write()
        return "done"

    with site.app.app_context():
        site.post("/outer", "outer")
        assert ["inner", "outer"] == site.actors()
        assert refuses(site)


def test_clients_that_preserve_their_contexts_leave_no_actor(site: Site) -> None:
    """Requests of nested clients each have their own actor, and none is left afterwards."""
    with site.app.app_context(), site.app.test_client() as first:
        first.post("/write", headers={"X-User": "one"})
        with site.app.test_client() as second:
            second.post("/write", headers={"X-User": "two"})
            second.post("/write", headers={"X-User": "three"})
            site.write()
        site.write()
    expected = ["one", "two", "three", "three", "one"]
    assert (expected, True) == (site.actors(), refuses(site))


@pytest.mark.parametrize("keeps", [True, False], ids=["stream_with_context", "plain"])
def test_streamed_response_writes_as_the_caller(site: Site, *, keeps: bool) -> None:
    """A generator that writes between its parts has the actor of its request."""

    @site.app.post("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            site.write()
            yield "not yet "
            site.write()
            yield "done"

        return Response(stream_with_context(parts()) if keeps else parts())

    site.post("/stream", "kim")
    first, second = site.events()
    assert (["kim", "kim"], "/stream") == (site.actors(), first["request"]["route"])
    assert (first["request"], True) == (second["request"], refuses(site))


@pytest.mark.parametrize("keeps", [True, False], ids=["stream_with_context", "plain"])
def test_audit_context_lasts_over_the_parts_of_a_stream(site: Site, *, keeps: bool) -> None:
    """A context that a generator opens holds until the generator leaves it, not longer."""

    @site.app.post("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            with audit_context(actor=JOB):
                yield "not yet "
                site.write()
            site.write()
            yield "done"

        return Response(stream_with_context(parts()) if keeps else parts())

    site.post("/stream", "kim")
    assert (["job", "kim"], True) == (site.actors(), refuses(site))


@pytest.mark.parametrize("keeps", [True, False], ids=["stream_with_context", "plain"])
def test_writes_after_the_view_are_in_the_trace_of_the_request(site: Site, *, keeps: bool) -> None:
    """The parts of a stream and `call_on_close`, although the server's span is no longer active."""
    tracer = TracerProvider().get_tracer("test")
    handle = site.app.wsgi_app
    spans = []

    def traced(environ: Any, start_response: Any) -> Any:
        with tracer.start_as_current_span("request") as span:
            spans.append(span)
            return handle(environ, start_response)

    @site.app.post("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            site.write()
            yield "done"

        response = Response(stream_with_context(parts()) if keeps else parts())
        response.call_on_close(site.write)
        return response

    site.app.wsgi_app = traced  # type: ignore[method-assign]
    site.post("/stream", "kim")
    trace_id = format(spans[0].get_span_context().trace_id, "032x")
    assert [trace_id] * 2 == [event["trace_id"] for event in site.events()]


def test_call_on_close_writes_as_the_caller(site: Site) -> None:
    """A function that runs when the response is closed has the actor of the request."""

    @site.app.post("/close")
    def close() -> Response:
        response = Response("done")
        response.call_on_close(site.write)
        return response

    site.post("/close", "kim")
    [event] = site.events()
    assert ("kim", "/close") == (event["actor"]["id"], event["request"]["route"])
    assert refuses(site)


def test_stream_is_closed_when_its_client_is_gone(site: Site) -> None:
    """A generator that is closed early cleans up as the caller."""

    @site.app.post("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            try:
                yield "first"
                yield "second"
            finally:
                site.write()

        return Response(parts())

    with site.client.post("/stream", headers={"X-User": "kim"}, buffered=False) as response:
        assert b"first" == next(response.iter_encoded())
    assert ["kim"] == site.actors()


def test_streamed_response_without_a_write_needs_no_actor(site: Site) -> None:
    """A stream that records nothing works for a request whose actor cannot be determined."""

    @site.app.post("/stream")
    def stream() -> Response:
        return Response(iter(["do", "ne"]))

    assert b"done" == site.client.post("/stream").data


def test_thread_with_a_copied_request_writes_as_the_caller(site: Site) -> None:
    """Flask's and Python's way to take a request into a thread keep its actor and its id."""

    @site.app.post("/threads")
    def threads() -> str:
        site.write()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy_current_request_context(site.write)).result()
            pool.submit(contextvars.copy_context().run, site.write).result()
            assert pool.submit(refuses, site).result()
        return "done"

    site.post("/threads", "kim")
    requests = {event["request"]["id"] for event in site.events()}
    assert (["kim"] * 3, 1) == (site.actors(), len(requests))


def test_async_view_writes_as_the_caller(site: Site) -> None:
    """A view that runs in another thread's event loop has the actor of the request."""

    def in_a_thread(view: Callable[..., Coroutine[Any, Any, str]]) -> Callable[..., str]:
        def run(*args: object, **kwargs: object) -> str:
            context = contextvars.copy_context()
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(context.run, asyncio.run, view(*args, **kwargs)).result()

        return run

    site.app.async_to_sync = in_a_thread  # type: ignore[assignment,method-assign]

    @site.app.post("/async")
    async def view() -> str:
        await asyncio.sleep(0)
        site.write()
        return "done"

    site.post("/async", "kim")
    assert ["kim"] == site.actors()


def test_request_context_of_a_test_has_an_actor(site: Site) -> None:
    """`test_request_context` is enough for a write, and nothing of it is left afterwards."""
    with site.app.test_request_context("/write", method="POST", headers={"X-User": "kim"}):
        site.write()
        site.write()
    first, second = site.events()
    assert (["kim", "kim"], "/write") == (site.actors(), first["request"]["route"])
    assert (first["request"], True) == (second["request"], refuses(site))


def test_audit_context_inside_a_request_wins_for_what_it_names(site: Site) -> None:
    """What the inner context leaves out comes from the request."""

    @site.app.post("/explicit")
    def explicit() -> str:
        with audit_context(reason="asked"):
            site.write()
            with audit_context(actor=JOB):
                site.write()
        site.write()
        return "done"

    site.post("/explicit", "kim")
    shown = [(one["actor"]["id"], one["reason"], one["request"]["route"]) for one in site.events()]
    route = "/explicit"
    expected = [("kim", "asked", route), ("job", "asked", route), ("kim", None, route)]
    assert expected == shown


def test_audit_context_around_a_request_does_not_apply_inside_it(site: Site) -> None:
    """A request has its own caller, whatever context the code that makes it is in."""

    @site.app.post("/reason")
    def reason() -> str:
        with audit_context(reason="asked"):
            site.write()
        return "done"

    with audit_context(actor=JOB, reason="night"):
        site.post("/write", "kim")
        site.post("/reason", "lee")
        site.write()
    shown = [(one["actor"]["id"], one["reason"]) for one in site.events()]
    assert [("kim", None), ("lee", "asked"), ("job", "night")] == shown


def test_audit_context_around_a_pushed_request_context_still_names_the_actor(site: Site) -> None:
    """A job that pushes a request context, to build URLs, still acts as itself."""
    with audit_context(actor=JOB), site.app.test_request_context("/write", method="POST"):
        site.write()
    assert ["job"] == site.actors()


def test_carried_context_of_a_request_runs_in_a_thread(site: Site) -> None:
    """`carry_context` carries the actor and the request of Flask's current request."""

    @site.app.post("/carried")
    def carried() -> str:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(carry_context().run, site.write).result()
        return "done"

    site.post("/carried", "kim")
    [event] = site.events()
    assert ("kim", "/carried") == (event["actor"]["id"], event["request"]["route"])


def test_application_without_the_extension_has_no_actor(site: Site) -> None:
    """The request context of an application without the extension provides no actor."""
    other = Flask("other")
    with other.test_request_context():
        assert refuses(site)
