"""Who acts, carried into threads and jobs that go on after the request.

A job has a trace of its own, with a link to the trace that began it: its spans may come long after
those of the request, and belong to other work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context

from auditspan.context import AuditContext, current_context, enter_context

_P = ParamSpec("_P")
_R = TypeVar("_R")
_tracer = trace.get_tracer("auditspan")


@dataclass(frozen=True)
class CarriedContext:
    """The audit context of one moment, to be used once or often, in any thread or task."""

    context: AuditContext
    origin: trace.SpanContext

    def run(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function in this context, in a span of its own."""
        with self.attached(getattr(function, "__qualname__", "job")):
            return function(*args, **kwargs)

    @contextmanager
    def attached(self, name: str) -> Iterator[None]:
        """Make this the current context for a block, in a span of this name."""
        links = [trace.Link(self.origin)] if self.origin.is_valid else []
        leave = enter_context(self.context)
        try:
            with _tracer.start_as_current_span(name, context=Context(), links=links):
                yield
        finally:
            leave()


def copy_context() -> CarriedContext:
    """The current context, with the actor as it is now, for work that goes on elsewhere.

    carried = auditspan.copy_context()
    executor.submit(carried.run, send_invoices, month)
    """
    context = current_context() or AuditContext()
    return CarriedContext(
        context=replace(context, actor=context.resolve_actor()),
        origin=trace.get_current_span().get_span_context(),
    )
