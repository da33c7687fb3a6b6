"""Token of the forms that change something, kept in the session of the application."""

from __future__ import annotations

import hmac
import secrets

from flask import abort, current_app, request, session

FIELD = "auditspan_token"
"""The name of the field, and of the member of the session."""

_EXPIRED = "This form has expired. Go back, load the page again, and send it again."


def form_fields() -> dict[str, str]:
    """Return the hidden fields of a form: our token, and that of Flask-WTF where it is used."""
    token = session.setdefault(FIELD, secrets.token_urlsafe(32))
    of_application = current_app.jinja_env.globals.get("csrf_token")
    return {FIELD: token, **({"csrf_token": of_application()} if callable(of_application) else {})}


def require_token() -> None:
    """Answer 400 unless the request has the token of its session."""
    given, known = request.form.get(FIELD, ""), str(session.get(FIELD, ""))
    if not known or not hmac.compare_digest(given.encode(), known.encode()):
        abort(400, _EXPIRED)
