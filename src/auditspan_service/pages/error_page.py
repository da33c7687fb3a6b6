"""Errors as pages for people: the problem document, shown to a browser that asks for HTML.

Routes of the API always answer problem documents, as their description says.
"""

from __future__ import annotations

from flask import Response, make_response, render_template, request

from auditspan.viewer import SECURITY_HEADERS
from auditspan_service.api.auth import API_PREFIX
from auditspan_service.api.problems import MEDIA_TYPE

_ANSWERS = (MEDIA_TYPE, "application/json", "text/html")
"""What an error can be answered with, the first where a client has no preference."""


def as_page(response: Response) -> Response:
    """Return the page of a problem if the client prefers one, else the response as it is."""
    if response.mimetype != MEDIA_TYPE or _is_of_api():
        return response
    if request.accept_mimetypes.best_match(_ANSWERS) != "text/html":
        response.vary.add("Accept")
        return response
    page = make_response(render_template("error.html", problem=response.get_json()))
    for name in ("Content-Type", "Content-Length"):
        response.headers.pop(name, None)
    page.status_code = response.status_code
    page.headers.extend(response.headers)
    page.headers.update(SECURITY_HEADERS)
    page.headers["Cache-Control"] = "no-store"
    page.vary.add("Accept")
    return page


def _is_of_api() -> bool:
    rule = request.url_rule
    return rule is not None and rule.rule.startswith(API_PREFIX)
