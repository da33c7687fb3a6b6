"""Events about the use of the API: reads, refusals, and the processes that serve it.

They are recorded if `AUDITSPAN_RECORD_ACCESS` is set. A read is recorded before its response is
sent, and is refused if it cannot be recorded. Of refusals with the same client, one in a minute is
recorded, with their number, so that a flood of them does not fill the trail.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from flask import Flask, Response, current_app, request
from sqlalchemy.exc import SQLAlchemyError

from auditspan import Actor, AuditWriteError, audit_context
from auditspan_service.api.auth import tenant
from auditspan_service.api.current import EXTENSION, services
from auditspan_service.api.problems import Problem
from auditspan_service.services import Services

READ = "api.read"
REFUSALS = {
    HTTPStatus.UNAUTHORIZED: "authentication.failure",
    HTTPStatus.FORBIDDEN: "authorization.failure",
    HTTPStatus.TOO_MANY_REQUESTS: "rate-limit.exceeded",
}
"""The actions of refusals."""

_READS = ("GET", "HEAD")
_FLOOD = "auditspan_service.flood"
_PERIOD = 60.0
_CLIENTS = 1000
_OTHERS = "others"


@dataclass(kw_only=True)
class Flood:
    """Counter that lets one of many like occurrences through in a period.

    Attributes:
        period: the period, in seconds.
        limit: the number of different kinds; all further ones count as one.
        clock: a monotonic clock in seconds.
    """

    period: float = _PERIOD
    limit: int = _CLIENTS
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Hashable, tuple[float, int]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def count(self, kind: Hashable) -> int | None:
        """Count an occurrence.

        Returns:
            The number since the last one that was let through, if this one is; else None.
        """
        with self._lock:
            now = self.clock()
            if kind not in self._seen and len(self._seen) >= self.limit:
                self._forget(now)
                kind = kind if len(self._seen) < self.limit else _OTHERS
            last, waiting = self._seen.get(kind, (None, 0))
            is_due = last is None or now - last >= self.period
            self._seen[kind] = (now, 0) if is_due else (last or now, waiting + 1)
            return waiting + 1 if is_due else None

    def _forget(self, now: float) -> None:
        """Forget kinds of earlier periods that have nothing left to report."""
        old = [
            kind
            for kind, (last, waiting) in self._seen.items()
            if not waiting and now - last >= self.period
        ]
        for kind in old:
            del self._seen[kind]


def record_state(app: Flask, action: Literal["service.start", "service.stop"]) -> None:
    """Record that a process begins or ends to serve, if the settings of the service ask for it.

    Another application, which uses the service's configuration of gunicorn, records nothing.

    Raises:
        AuditWriteError: the event could not be written.
    """
    found: Services | None = app.extensions.get(EXTENSION)
    if found is not None and found.settings.record_access:
        with audit_context(actor=Actor.system("auditspan")):
            found.trail.record_durable(action)


@contextmanager
def recorded_run(app: Flask) -> Iterator[None]:
    """Record the start of a process that serves, and its stop when the block ends."""
    record_state(app, "service.start")
    try:
        yield
    finally:
        record_state(app, "service.stop")


def install(app: Flask, *, api_prefix: str) -> None:
    """Record the reads and the refusals of an application's routes below this prefix."""
    flood = Flood(period=_PERIOD)

    def is_api() -> bool:
        return request.url_rule is not None and request.url_rule.rule.startswith(api_prefix)

    def record(response: Response) -> Response:
        is_answered = response.status_code < HTTPStatus.BAD_REQUEST
        if not (is_api() and request.method in _READS and is_answered):
            return response
        try:
            with audit_context(tenant=tenant()):
                services().trail.record_durable(READ, metadata=_request())
        except (AuditWriteError, SQLAlchemyError) as error:
            response.close()
            return current_app.make_response(current_app.handle_user_exception(error))
        return response

    def refuse(problem: Problem) -> Response:
        if not (is_api() and problem.status in REFUSALS):
            return problem.response()
        try:
            with audit_context(tenant=tenant()):
                _record(flood, REFUSALS[HTTPStatus(problem.status)], problem.detail)
        except (AuditWriteError, SQLAlchemyError) as error:
            return current_app.make_response(current_app.handle_user_exception(error))
        return problem.response()

    app.after_request(record)
    app.register_error_handler(Problem, refuse)
    app.extensions[_FLOOD] = flood


def record_failed_sign_in(reason: str) -> None:
    """Record that an API key was refused on the page for signing in, if access is recorded.

    Raises:
        AuditWriteError: the event could not be written.
    """
    if flood := current_app.extensions.get(_FLOOD):
        _record(flood, REFUSALS[HTTPStatus.UNAUTHORIZED], reason)


def _record(flood: Flood, action: str, reason: str) -> None:
    """Record a refusal for a key, a scope or a rate limit; not each of many by one client.

    Raises:
        AuditWriteError: the event could not be written.
    """
    count = flood.count((action, request.remote_addr))
    if count is not None:
        services().trail.record_durable(
            action,
            outcome="failure",
            reason=reason,
            metadata={"endpoint": request.endpoint, "count": count},
        )


def _request() -> dict[str, Any]:
    """Return the endpoint and the arguments of a request that was answered, so they are valid."""
    arguments = {**(request.view_args or {}), **request.args.to_dict()}
    return {"endpoint": request.endpoint, "arguments": arguments}
