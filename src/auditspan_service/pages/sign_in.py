"""Signing in with an API key, and signing out."""

from __future__ import annotations

import re

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditspan.viewer import SECURITY_HEADERS
from auditspan_service.api import auth
from auditspan_service.api.access import record_failed_sign_in
from auditspan_service.api.current import services
from auditspan_service.pages.auditors import (
    SCOPE,
    csrf_token,
    forget,
    is_csrf_token,
    may_view,
    remember,
)

pages = Blueprint("pages", __name__, template_folder="templates")

_LOCAL_PATH = re.compile(r"/(?![/\\])[!-~]*")
"""A path on this host: `//host` and `/\\host` would lead to another one."""

_EXPIRED = "This form has expired. Send it again."
_INVALID = "This key is not valid: it is unknown, revoked or expired, or its user is not active."
_INSUFFICIENT = f"This key lacks the scope {SCOPE}, which the pages require."
_OF_TENANT = "This key belongs to a tenant, but the pages show the whole trail."


@pages.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    """Show the form."""
    return _form()


@pages.post("/sign-in")
def signed_in() -> ResponseReturnValue:
    """Begin a session, and continue to the page that was asked for."""
    if not is_csrf_token(request.form.get("csrf_token", "")):
        return _form(_EXPIRED), 400
    key = auth.sign_in(request.form.get("key", "").strip())
    if key is None:
        record_failed_sign_in(_INVALID)
        return _form(_INVALID), 401
    if not may_view(key):
        return _form(_OF_TENANT if key.tenant else _INSUFFICIENT), 403
    remember(key)
    services().trail.record_durable("session.create", metadata={"key_id": str(key.key_id)})
    return redirect(_next())


@pages.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session."""
    if not is_csrf_token(request.form.get("csrf_token", "")):
        return _form(_EXPIRED), 400
    forget()
    return redirect(url_for("pages.sign_in"))


@pages.after_request
def _protected(response: Response) -> Response:
    response.headers.update(SECURITY_HEADERS)
    response.headers["Cache-Control"] = "no-store"
    return response


def _form(problem: str = "") -> str:
    return render_template(
        "sign_in.html", problem=problem, csrf_token=csrf_token(), next=_next(), scope=SCOPE
    )


def _next() -> str:
    """Return the path to continue to; the trail if the request names none on this host."""
    wanted = request.values.get("next", "")
    return wanted if _LOCAL_PATH.fullmatch(wanted) else url_for("auditspan.trail")
