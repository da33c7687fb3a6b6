"""The Flask extension: actor and request context for every request.

AuditExtension(trail, actor=lambda: Actor.user(current_user.id)).init_app(app)

The current request is looked up in Flask whenever a record is made, so it does not matter how the
request context was entered: by a request, a nested request, `stream_with_context`,
`copy_current_request_context` or `test_request_context`. Code of a response that runs after its
request context has ended (a plain generator, `call_on_close`) runs with the actor and the trace of
the request.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

from flask import Flask, Response, current_app, has_app_context, has_request_context, request

from auditspan.cli import audit_commands
from auditspan.context import (
    AuditContext,
    RequestScope,
    add_scope_source,
    carry_trace,
    current_context,
    enter_context,
    opened_context,
)
from auditspan.errors import AuditConfigError
from auditspan.flask.actors import command_actor, login_actor
from auditspan.flask.process_worker import ProcessWorker
from auditspan.format import Actor, Request
from auditspan.tlog import NoteError, PublicKey
from auditspan.trail import AuditTrail

_KEY = "auditspan"
_SCOPE = "auditspan_scope"
_COLLECTOR_FILES = "AUDITSPAN_COLLECTOR_FILES"
_TRACE_URL = "AUDITSPAN_TRACE_URL"
_PUBLIC_KEYS = "AUDITSPAN_PUBLIC_KEYS"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}")
_MAX_USER_AGENT = 512
_T = TypeVar("_T")


class AuditExtension:
    """Flask extension that opens an audit context for every request of an application.

    Args:
        trail: the trail of the application's sessions.
        actor: returns the actor of the current request. It is called when a change is recorded, so
            that authentication may happen at any point before. By default it is the user of
            Flask-Login, and anonymous if the application has no login manager. A `flask` command
            acts as `Actor.system(command)`.
        worker: whether to run the worker in this process, from the first request until the process
            ends, on the main database and on each bind of Flask-SQLAlchemy that has audit tables;
            for development. See `AuditTrail.worker`.
        viewer: the path of the pages of the trail, as in ``/audit``; None for no pages.
        can_view: returns whether the current request may see these pages; it may also raise what
            `flask.abort` raises. Without it, no request may see them.
        can_revert: returns whether the current request may also revert changes on these pages.
            Without it, no request may.
    """

    def __init__(
        self,
        trail: AuditTrail,
        *,
        actor: Callable[[], Actor] = login_actor,
        worker: bool = False,
        viewer: str | None = None,
        can_view: Callable[[], bool] | None = None,
        can_revert: Callable[[], bool] | None = None,
    ) -> None:
        self.trail = trail
        self._actor = actor
        self._worker = ProcessWorker(trail) if worker else None
        self._viewer = viewer
        self._can_view = can_view
        self._can_revert = can_revert

    def init_app(self, app: Flask) -> None:
        """Install the extension, as `app.extensions["auditspan"]`, and its commands `flask audit`.

        The pages read the spans of a trace from the directory that `AUDITSPAN_COLLECTOR_FILES`
        names, and link to the tracing backend of `AUDITSPAN_TRACE_URL`, each in the application's
        configuration or the environment. They check the signatures of checkpoints by the list
        `AUDITSPAN_PUBLIC_KEYS` of the configuration. For more settings,
        register `auditspan.viewer.viewer_blueprint` instead of passing `viewer`.

        Raises:
            AuditConfigError: the application already has one, or the path of the pages is invalid.
        """
        if _KEY in app.extensions:
            raise AuditConfigError(
                "this application already has an AuditExtension: call init_app once, where the "
                "application is created"
            )
        app.extensions[_KEY] = self
        # First, so that writes of other before_request functions have a context too.
        app.before_request_funcs.setdefault(None, []).insert(0, self._begin)
        # Flask calls these in reverse, so this one sees the final response.
        app.after_request_funcs.setdefault(None, []).insert(0, _carry_into)
        app.cli.add_command(audit_commands(partial(_target, app, self.trail)))
        if self._viewer is not None:
            self._add_viewer(app, self._viewer)

    def close(self) -> None:
        """Stop the worker in order, if it runs in this process; done when the process ends."""
        if self._worker:
            self._worker.stop()

    def _add_viewer(self, app: Flask, path: str) -> None:
        if not path.startswith("/"):
            raise AuditConfigError(f"invalid viewer {path!r}: expected a path such as '/audit'")
        try:
            from auditspan.viewer import viewer_blueprint  # noqa: PLC0415 (needs an extra)
        except ModuleNotFoundError as error:
            raise AuditConfigError(
                "the pages of the viewer need the extra 'worker': pip install "
                f"'auditspan[flask,worker]' ({error.name} is not installed)"
            ) from error
        pages = viewer_blueprint(
            self.trail,
            can_view=self._can_view,
            can_revert=self._can_revert,
            collector_files=_setting(app, _COLLECTOR_FILES),
            trace_url=_setting(app, _TRACE_URL),
            public_keys=_public_keys(app),
        )
        app.register_blueprint(pages, url_prefix=path)

    def scope(self) -> RequestScope:
        """Return the scope of the current request, the same one throughout the request."""
        found: RequestScope | None = getattr(request, _SCOPE, None)
        return found or self._opened(hides=None)

    def _begin(self) -> None:
        """Make the request hide the `audit_context` in which it is handled."""
        if self._worker:
            self._worker.start(current_app)
        self._opened(hides=opened_context())

    def _opened(self, *, hides: AuditContext | None) -> RequestScope:
        context = AuditContext(actor=self._actor, request=request_info())
        scope = RequestScope(context=context, hides=hides)
        setattr(request, _SCOPE, scope)
        return scope


def _target(app: Flask, trail: AuditTrail, bind: str | None) -> object:
    from auditspan.cli.commands import ApplicationTarget  # noqa: PLC0415 (needs the extra `cli`)

    return ApplicationTarget(trail, app=app, bind=bind, command="flask audit")


def _setting(app: Flask, name: str) -> str | None:
    return app.config.get(name) or os.environ.get(name)


def _public_keys(app: Flask) -> list[PublicKey]:
    try:
        return [PublicKey.parse(text) for text in app.config.get(_PUBLIC_KEYS, ())]
    except NoteError as error:
        raise AuditConfigError(
            f"invalid {_PUBLIC_KEYS}: {error}; expected a list of public keys such as "
            "'auditspan/shop+12ab34cd+AQID…'"
        ) from error


def _current_scope() -> RequestScope | None:
    """Return the scope of Flask's current request, or of a `flask` command.

    Their application must have the extension.
    """
    if not has_app_context():
        return None
    extension: AuditExtension | None = current_app.extensions.get(_KEY)
    if has_request_context():
        found: RequestScope | None = getattr(request, _SCOPE, None)
        return found or (extension.scope() if extension else None)
    actor = command_actor() if extension else None
    return RequestScope(context=AuditContext(actor=actor)) if actor else None


add_scope_source(_current_scope)


def _carry_into(response: Response) -> Response:
    """Run the body and the `call_on_close` functions of a response with its actor."""
    streams = response.is_streamed and not response.direct_passthrough
    if streams or vars(response).get("_on_close", True):
        carried = _Carried(_with_known_actor(current_context() or AuditContext()))
        if streams:
            # The parts may also be text: they are passed on unchanged.
            parts = iter(cast("Iterable[bytes]", response.response))
            response.response = _Body(parts, carried)
        setattr(response, "close", partial(carried.run, response.close))  # noqa: B010 (mypy)
    return response


def _with_known_actor(context: AuditContext) -> AuditContext:
    """Resolve the actor during the request; raise an error only when a record needs it."""
    try:
        return replace(context, actor=context.resolve_actor())
    except Exception as error:  # noqa: BLE001 (the application's own)
        return replace(context, actor=partial(_raise, error))


def _raise(error: Exception) -> Actor:
    raise error


class _Carried:
    """An audit context that lasts over several calls; a call may leave another one open.

    The trace of the request lasts as long, unless the server has a span for its call.
    """

    def __init__(self, context: AuditContext) -> None:
        self._opened = context
        self._in_trace = carry_trace()

    def run(self, function: Callable[[], _T]) -> _T:
        leave = enter_context(self._opened)
        try:
            with self._in_trace():
                return function()
        finally:
            self._opened = opened_context() or self._opened
            leave()


class _Body:
    """The parts of a streamed response, each produced in the carried context."""

    def __init__(self, parts: Iterator[bytes], carried: _Carried) -> None:
        self._parts = parts
        self._carried = carried

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        return self._carried.run(self._parts.__next__)

    def close(self) -> None:
        """Close the source of the parts, inside `Response.close` and so in the carried context."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()


def request_info() -> Request:
    """Return the current request for the body of a record.

    The route is the rule, never the path, which may hold personal data. A well-formed
    `X-Request-ID` is kept; otherwise an id is generated.
    """
    given = request.headers.get("X-Request-ID", "")
    agent = request.headers.get("User-Agent")
    return Request(
        id=given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4()),
        client_address=request.remote_addr,
        user_agent=agent[:_MAX_USER_AGENT] if agent else None,
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
    )
