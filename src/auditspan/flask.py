"""The Flask extension: actor and request context for every request.

AuditExtension(trail, actor=lambda: Actor.user(current_user.id)).init_app(app)
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from flask import Flask, g, request

from auditspan.context import AuditContext, enter_context
from auditspan.errors import AuditConfigError
from auditspan.record import Actor, Request
from auditspan.trail import AuditTrail

_KEY = "auditspan"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}")
_MAX_USER_AGENT = 512


class AuditExtension:
    """Opens an audit context for every request of an application.

    Args:
        trail: the trail of the application's sessions.
        actor: says who makes the current request. It is asked when a change is recorded, so that
            authentication may happen at any point before. By default everybody is anonymous.
    """

    def __init__(self, trail: AuditTrail, *, actor: Callable[[], Actor] = Actor.anonymous) -> None:
        self.trail = trail
        self._actor = actor

    def init_app(self, app: Flask) -> None:
        """Install the extension; `app.extensions["auditspan"]` is it.

        Raises:
            AuditConfigError: the application has one already.
        """
        if _KEY in app.extensions:
            raise AuditConfigError(
                "this application has an AuditExtension already: call init_app once, where the "
                "application is made"
            )
        app.extensions[_KEY] = self
        # First, so that whatever another before_request writes has a context too.
        app.before_request_funcs.setdefault(None, []).insert(0, self._enter)
        app.teardown_request(self._leave)

    def _enter(self) -> None:
        g.auditspan_leave = enter_context(AuditContext(actor=self._actor, request=request_info()))

    def _leave(self, _error: BaseException | None) -> None:
        leave = g.pop("auditspan_leave", None)
        if leave is not None:
            leave()


def request_info() -> Request:
    """What the body says of the current request.

    The route is the rule, never the path, which may hold personal data. An `X-Request-ID` of an
    honest form is kept; else one is made.
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
