"""The blueprint: routes, permission, recording, headers and error pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias

from flask import Blueprint, Response, abort, redirect, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from auditspan.errors import AuditConfigError, AuditWriteError
from auditspan.telemetry import TraceLink
from auditspan.telemetry.otlp import TraceFiles
from auditspan.tlog import PublicKey
from auditspan.trail import AuditTrail
from auditspan.viewer.event_page import event_page, proof_page
from auditspan.viewer.export import export
from auditspan.viewer.history_page import history_page
from auditspan.viewer.integrity_page import integrity_page
from auditspan.viewer.query import without_empty
from auditspan.viewer.rendering import render
from auditspan.viewer.revert import revert, revert_page
from auditspan.viewer.trace_page import trace_document, trace_page
from auditspan.viewer.trail_page import tail, trail_page
from auditspan.viewer.viewer import Account, Connect, Document, Page, Viewer, own_sessions

Show: TypeAlias = Callable[..., Page | Document]

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""The headers of every response of the pages."""

_FORBIDDEN = (
    "You may not see the audit trail. Ask the administrators of this application for permission."
)
_NOT_RECORDED = (
    "Your view of this page could not be recorded, so the page is not shown. Try again; if that "
    "does not help, the database refuses new audit rows."
)

_ROUTES: dict[str, tuple[str, Show]] = {
    "event": ("/events/<event_id>", event_page),
    "proof": ("/events/<event_id>/proof", proof_page),
    "export": ("/export", export),
    "history": ("/history/<target_type>/<path:target_id>", history_page),
    "integrity": ("/integrity", integrity_page),
    "revert": ("/events/<event_id>/revert", revert_page),
    "trace": ("/traces/<trace_id>", trace_page),
    "trace_document": ("/traces/<trace_id>.json", trace_document),
}
"""The pages that are recorded when they are shown, by endpoint: their path and function."""


def viewer_blueprint(
    trail: AuditTrail,
    *,
    can_view: Callable[[], bool] | None = None,
    can_revert: Callable[[], bool] | None = None,
    connect: Connect | None = None,
    collector_files: Path | str | None = None,
    trace_url: str | None = None,
    public_keys: Sequence[PublicKey] = (),
    account: Callable[[], Account | None] = lambda: None,
    denials: str = "*.denied",
) -> Blueprint:
    """Return the pages of a trail as a blueprint, for `app.register_blueprint`.

    The application MUST have an `AuditExtension` of the trail, which names the viewer. Each page
    that is shown is recorded as `audit.viewed`, by the actor of the request; a page whose view
    cannot be recorded is not shown. Polls of a live page are not recorded. For the arguments, see
    `Viewer`.

    Raises:
        AuditConfigError: the URL of traces is invalid.
    """
    viewer = Viewer(
        trail=trail,
        can_view=can_view,
        can_revert=can_revert,
        connect=connect or own_sessions(trail),
        trace_files=TraceFiles(collector_files) if collector_files else None,
        trace_link=TraceLink(trace_url) if trace_url else None,
        public_keys=tuple(public_keys),
        account=account,
        denials=denials,
    )
    blueprint = Blueprint("auditspan", __name__, static_folder="static")
    _add_routes(blueprint, viewer)
    return blueprint


def _add_routes(blueprint: Blueprint, viewer: Viewer) -> None:
    blueprint.add_url_rule("/", "trail", _trail(viewer))
    blueprint.add_url_rule("/tail", "tail", _tail(viewer))
    for endpoint, (rule, show) in _ROUTES.items():
        blueprint.add_url_rule(rule, endpoint, _view(viewer, show))
    blueprint.add_url_rule(_ROUTES["revert"][0], "reverted", _reverted(viewer), methods=["POST"])
    blueprint.register_error_handler(HTTPException, _error_page(viewer))
    blueprint.after_request(_protected)


def _view(viewer: Viewer, show: Show) -> Callable[..., ResponseReturnValue]:
    """Return the view that checks the permission, reads, records, and then shows a page."""

    @wraps(show)
    def view(**arguments: str) -> ResponseReturnValue:
        _require_permission(viewer)
        with viewer.connect() as connection:
            page = show(viewer, connection, **arguments)
        # After the connection is closed: SQLite has one writer at a time.
        try:
            viewer.record(page)
        except AuditWriteError:
            abort(503, _NOT_RECORDED)
        return _response(viewer, page)

    return view


def _trail(viewer: Viewer) -> Callable[..., ResponseReturnValue]:
    """Return the view of the trail, which first removes empty fields of a form from the URL."""
    shown = _view(viewer, trail_page)

    def view() -> ResponseReturnValue:
        shorter = without_empty(request.args)
        return shown() if shorter is None else redirect(f"{url_for('.trail')}?{shorter}")

    return view


def _tail(viewer: Viewer) -> Callable[..., ResponseReturnValue]:
    def view() -> ResponseReturnValue:
        _require_permission(viewer)
        with viewer.connect() as connection:
            try:
                page = tail(viewer, connection)
            except AuditConfigError as error:
                abort(400, error.sentence)
        return _response(viewer, page) if page else ("", 204)

    return view


def _reverted(viewer: Viewer) -> Callable[..., ResponseReturnValue]:
    def view(event_id: str) -> ResponseReturnValue:
        _require_permission(viewer)
        answer = revert(viewer, event_id)
        return _response(viewer, answer) if isinstance(answer, Page) else answer

    return view


def _require_permission(viewer: Viewer) -> None:
    if not viewer.may_view():
        abort(403, _FORBIDDEN)


def _response(viewer: Viewer, page: Page | Document) -> Response:
    if isinstance(page, Document):
        headers = {"Content-Disposition": f'attachment; filename="{page.name}"'}
        lines = stream_with_context(line.encode() for line in page.lines)
        return Response(lines, mimetype=page.media_type, headers=headers)
    text = render(page.template, account=viewer.account(), **page.values)
    return Response(text, page.status, mimetype="text/html")


def _error_page(viewer: Viewer) -> Callable[[HTTPException], Any]:
    def handle(error: HTTPException) -> Response | HTTPException:
        if error.response is not None or error.code is None:
            return error  # a redirect, or a response of the application
        page = Page(template="error.html", values={"error": error}, status=error.code)
        response = _response(viewer, page)
        response.headers.extend(
            (name, value) for name, value in error.get_headers() if name != "Content-Type"
        )
        return response

    return handle


def _protected(response: Response) -> Response:
    """Add the headers that keep browsers from running, framing or storing what is not ours."""
    response.headers.update(SECURITY_HEADERS)
    if request.endpoint and not request.endpoint.endswith(".static"):
        response.headers["Cache-Control"] = "no-store"
    return response
