"""Who may see the pages, and what is recorded of it."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text

from apps.shop import Shop
from apps.shop.story import signed_in
from auditspan import AuditTrail
from auditspan.errors import AuditConfigError
from auditspan.flask import AuditExtension
from auditspan.viewer import viewer_blueprint
from integration.viewer.looking import Auditor

TRACE = "0af7651916cd43dd8448eb211c80319c"
EVENT = "01a229e7-bfc0-74e9-a86b-ec38b5e48b17"
PATHS = {
    "trail": "/",
    "tail": "/tail",
    "event": f"/events/{EVENT}",
    "proof": f"/events/{EVENT}/proof",
    "export": "/export",
    "history": "/history/customer/1",
    "integrity": "/integrity",
    "revert": f"/events/{EVENT}/revert",
    "reverted": f"/events/{EVENT}/revert",
    "trace": f"/traces/{TRACE}",
    "trace_document": f"/traces/{TRACE}.json",
}


def pages_of(app: Flask) -> set[str]:
    """The endpoints of the viewer without its static files."""
    found = {rule.endpoint for rule in app.url_map.iter_rules()}
    return {one.partition(".")[2] for one in found if one.startswith("auditspan.")} - {"static"}


@pytest.mark.parametrize("name", [None, "kim"])
def test_no_page_is_shown_without_permission(shop: Shop, name: str | None) -> None:
    """Every page is 403 where the application's callable says no, and nothing is recorded."""
    assert PATHS.keys() == pages_of(shop.app)
    client = signed_in(shop, name) if name else shop.app.test_client()
    before = Auditor(shop).views()
    answers = {page: client.get(f"/audit{path}") for page, path in PATHS.items()}
    assert dict.fromkeys(PATHS, 403) == {page: one.status_code for page, one in answers.items()}
    assert before == Auditor(shop).views()
    assert all("Grace" not in one.text for one in answers.values())


def test_without_a_callable_no_page_is_shown(shop: Shop) -> None:
    """Denied is the default."""
    app = Flask(__name__)
    app.register_blueprint(viewer_blueprint(shop.trail), url_prefix="/pages")
    client = app.test_client()
    found = {page: client.get(f"/pages{path}").status_code for page, path in PATHS.items()}
    assert dict.fromkeys(PATHS, 403) == found


def test_a_page_is_recorded_once_with_its_viewer(auditor: Auditor) -> None:
    """The record names the page, what was asked for, and the viewer; a poll is not recorded."""
    before = len(auditor.views())
    auditor.page("/", action="customer.*")
    auditor.get("/tail", seen="x")
    auditor.page("/history/customer/1")
    auditor.page("/integrity")
    made = auditor.views()[: len(auditor.views()) - before][::-1]
    assert [
        {"page": "trail", "filters": {"action": "customer.*"}, "before": None},
        {"page": "history", "target": {"type": "customer", "id": "1"}},
        {"page": "integrity"},
    ] == [dict(view.metadata) for view in made]
    assert {"ada"} == {view.actor.id for view in made}


def test_a_view_that_cannot_be_recorded_is_not_shown(fresh_shop: Shop) -> None:
    """Where the database refuses the row, the answer is 503 and contains no event."""
    signed_in(fresh_shop, "kim").post("/customers", data={"name": "Grace"})
    with fresh_shop.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER full BEFORE INSERT ON audit_event WHEN NEW.action = 'audit.viewed' "
                "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
        )
    response = Auditor(fresh_shop).get("/")
    assert (503, False) == (response.status_code, "Grace" in response.text)


def test_registered_actions_need_not_contain_the_views(fresh_shop: Shop) -> None:
    """A trail with a registry of actions records the views of its pages."""
    trail = AuditTrail(
        type(fresh_shop.sessions)(fresh_shop.engine),
        metadata=type(fresh_shop.trail.tables.event.metadata)(),
        actions={"invoice.exported"},
        mac_key=None,
    )
    app = Flask(__name__)
    AuditExtension(trail, viewer="/audit", can_view=lambda: True).init_app(app)
    assert 200 == app.test_client().get("/audit/").status_code


def test_a_path_without_a_slash_is_refused(shop: Shop) -> None:
    """The message shows a path that works."""
    with pytest.raises(AuditConfigError, match="invalid viewer 'audit': expected a path such as"):
        AuditExtension(shop.trail, viewer="audit").init_app(Flask(__name__))


def test_a_key_that_is_malformed_is_refused(shop: Shop) -> None:
    """The message names the setting."""
    app = Flask(__name__)
    app.config["AUDITSPAN_PUBLIC_KEYS"] = ["shop"]
    with pytest.raises(AuditConfigError, match="invalid AUDITSPAN_PUBLIC_KEYS"):
        AuditExtension(shop.trail, viewer="/audit").init_app(app)


def test_every_response_has_security_headers(auditor: Auditor) -> None:
    """Pages, errors and files: no inline script, no frame, no sniffing; pages are not stored."""
    for path in ("/", "/events/x", "/static/viewer.css", "/?outcome=x"):
        headers = auditor.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert ("unsafe" in policy, "frame-ancestors 'none'" in policy) == (False, True)
        assert "nosniff" == headers["X-Content-Type-Options"]
        assert "same-origin" == headers["Referrer-Policy"]
        assert ("static" not in path) == (headers["Cache-Control"] == "no-store")
