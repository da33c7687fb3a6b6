"""The context: who acts, from where the block begins to where it ends, and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from auditspan import Actor, Request, audit_context
from auditspan.context import AuditContext, current_context, enter_context
from auditspan.errors import AuditConfigError

KIM, LEE = Actor.user(1, label="kim"), Actor.user(2, label="lee")
OUTER: dict[str, Any] = {
    "actor": KIM,
    "on_behalf_of": LEE,
    "reason": "asked",
    "request": Request(id="r-1"),
    "tenant": "acme",
    "metadata": {"a": 1, "b": 1},
}
INNER: dict[str, Any] = {
    "actor": LEE,
    "on_behalf_of": KIM,
    "reason": "again",
    "request": Request(id="r-2"),
    "tenant": "other",
    "metadata": {"b": 2, "c": 2},
}


def actor() -> Actor | None:
    """Return the current actor."""
    context = current_context()
    return context.resolve_actor() if context else None


def test_no_context_outside_a_block() -> None:
    """No actor is set before and after the block."""
    assert current_context() is None
    with audit_context(actor=KIM) as context:
        assert context is current_context()
    assert current_context() is None


@pytest.mark.parametrize("name", OUTER)
def test_inner_context_inherits_from_the_outer_one(name: str) -> None:
    """Each member is inherited or replaced by itself; metadata is merged."""
    merged = {"a": 1, "b": 2, "c": 2} if name == "metadata" else INNER[name]
    with audit_context(**OUTER):
        with audit_context(**{name: INNER[name]}):
            assert AuditContext(**(OUTER | {name: merged})) == current_context()
        with audit_context():
            assert AuditContext(**OUTER) == current_context()
        assert AuditContext(**OUTER) == current_context()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_the_outer_context_is_back_after_an_exception(error: type[BaseException]) -> None:
    """However the inner block ends, the outer actor is back."""

    def fail() -> None:
        with audit_context(actor=LEE):
            raise error

    with audit_context(actor=KIM):
        with pytest.raises(error):
            fail()
        assert KIM == actor()
    assert current_context() is None


def test_a_function_is_asked_for_the_actor_when_it_is_needed() -> None:
    """The user of a request may be known only after its context has been opened."""
    asked: list[Actor] = []

    def later() -> Actor:
        asked.append(KIM if asked else LEE)
        return asked[-1]

    with audit_context(actor=later):
        assert asked == []
        assert LEE == actor()
        assert KIM == actor()


@pytest.mark.parametrize("given", ["kim", lambda: "kim", lambda: 7])
def test_something_else_than_an_actor_is_refused(given: Any) -> None:
    """The message names the type that was given or returned, and what is expected."""
    with audit_context(actor=given), pytest.raises(AuditConfigError, match="expected an Actor"):
        actor()


def test_a_thread_does_not_inherit_the_actor_by_accident() -> None:
    """Each thread has its own context; one is handed over only on purpose."""
    with audit_context(actor=KIM), ThreadPoolExecutor(1) as pool:
        assert pool.submit(actor).result() is None
        assert KIM == pool.submit(contextvars.copy_context().run, actor).result()


def test_tasks_do_not_see_each_others_actor() -> None:
    """Two asyncio tasks that take turns each keep their own actor."""

    async def act(who: Actor, turns: list[Actor | None]) -> None:
        with audit_context(actor=who):
            for _ in range(3):
                await asyncio.sleep(0)
                turns.append(actor())

    async def both() -> tuple[list[Actor | None], list[Actor | None]]:
        kim: list[Actor | None] = []
        lee: list[Actor | None] = []
        await asyncio.gather(act(KIM, kim), act(LEE, lee))
        return kim, lee

    assert ([KIM] * 3, [LEE] * 3) == asyncio.run(both())


def test_entering_and_leaving_restores_the_context_before() -> None:
    """Leaving a framework's context restores the one before."""
    with audit_context(actor=KIM):
        leave: Callable[[], None] = enter_context(AuditContext(actor=LEE))
        assert LEE == actor()
        leave()
        assert KIM == actor()


def test_changing_the_metadata_afterwards_changes_no_context() -> None:
    """A context keeps what it was given, not what becomes of it."""
    given: dict[str, Any] = {"a": 1}
    with audit_context(actor=KIM, metadata=given) as context:
        given["a"] = 2
        assert {"a": 1} == context.metadata
