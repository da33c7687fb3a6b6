"""One event, the history of a target, integrity, and a trace."""

from __future__ import annotations

import json
import re

import pytest
from flask import Flask
from sqlalchemy import text

from apps.shop import Shop
from apps.shop.story import signed_in
from auditspan import AuditConfigError, Target
from auditspan.delivery.status import Attempts, save_status
from auditspan.errors import SinkUnavailableError
from auditspan.flask import AuditExtension
from integration.viewer.conftest import seal_and_deliver
from integration.viewer.looking import Auditor, rows
from support.attacker import take_guards_away

CUSTOMER = Target(type="customer", id="1")
PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "{{ 7777 * 7 }}",
    "javascript:alert(1)",
    "</title><svg onload=alert(1)>",
    "</pre></details><iframe srcdoc='<b>'>",
)


def test_each_event_is_proven(auditor: Auditor) -> None:
    """The check of every sealed event succeeds, with a valid signature."""
    verdicts = {
        event.event_id: "The row is unchanged" in auditor.page(f"/events/{event.event_id}/proof")
        for event in auditor.events()
    }
    assert dict.fromkeys(verdicts, True) == verdicts
    page = auditor.page(f"/events/{auditor.events()[-1].event_id}/proof")
    assert "<dt>Signature</dt><dd>valid</dd>" in page


def test_an_event_that_was_changed_is_not_proven(fresh_shop: Shop) -> None:
    """After an UPDATE past the triggers the check fails, and says to verify the trail."""
    signed_in(fresh_shop, "kim").post("/customers", data={"name": "Grace"})
    seal_and_deliver(fresh_shop)
    auditor = Auditor(fresh_shop)
    [event] = auditor.events()
    with fresh_shop.engine.begin() as connection:
        take_guards_away(connection)
        connection.execute(text("UPDATE audit_event SET body = replace(body, 'Grace', 'Mallory')"))
    page = auditor.page(f"/events/{event.event_id}/proof")
    assert ("The proof FAILED" in page, "The row is unchanged" in page) == (True, False)


def test_numbers_below_zero_are_shown_as_damage(fresh_shop: Shop) -> None:
    """An event with such a number is not proven, and such a checkpoint is not listed."""
    signed_in(fresh_shop, "kim").post("/customers", data={"name": "Grace"})
    seal_and_deliver(fresh_shop)
    auditor = Auditor(fresh_shop)
    [event] = auditor.events()
    with fresh_shop.engine.begin() as connection:
        take_guards_away(connection)
        connection.execute(text("UPDATE audit_leaf SET seq = -5"))
        connection.execute(text("UPDATE audit_checkpoint SET tree_size = -5"))
    assert "The row is unchanged" not in auditor.page(f"/events/{event.event_id}/proof")
    assert "-5" not in auditor.page("/integrity")


def test_an_event_that_is_not_sealed_is_not_proven(fresh_shop: Shop) -> None:
    """Without a worker, the check says that the event is not sealed yet."""
    signed_in(fresh_shop, "kim").post("/customers", data={"name": "Grace"})
    auditor = Auditor(fresh_shop)
    page = auditor.page(f"/events/{auditor.events()[0].event_id}/proof")
    assert "Not proven: the event is not sealed yet" in page


def test_an_event_links_to_its_transaction_and_its_trace(auditor: Auditor) -> None:
    """The page has the trace, and each other event of the same transaction."""
    update = auditor.events(action="customer.update", actor="nightly-billing")[0]
    tag = auditor.events(action="tag.create")[0]
    assert f'href="/audit/events/{tag.event_id}"' in auditor.page(f"/events/{update.event_id}")
    denied = auditor.events(action="customer.denied")[0]
    page = auditor.page(f"/events/{denied.event_id}")
    assert f'href="/audit/traces/{denied.trace_id}"' in page


def test_a_history_has_the_events_of_its_target(auditor: Auditor) -> None:
    """Newest first, and only these."""
    expected = [one.event_id for one in auditor.events() if one.target == CUSTOMER]
    assert expected == rows(auditor.page("/history/customer/1"))
    missing = auditor.get("/history/customer/99")
    assert (404, True) == (missing.status_code, ">All events</a>" in missing.text)


def test_integrity_checks_each_checkpoint(auditor: Auditor) -> None:
    """Each checkpoint grows from the previous one and is signed; the sink has everything."""
    page = auditor.page("/integrity")
    with auditor.shop.engine.connect() as connection:
        count = connection.scalar(text("SELECT count(*) FROM audit_checkpoint")) or 0
    assert min(count, 12) == page.count('<span class="good">valid</span>')
    assert min(count - 1, 11) <= page.count('<span class="good">yes</span>')
    assert ("NO: run" in page, "<strong>file</strong>" in page) == (False, True)


def test_integrity_shows_how_delivery_goes(fresh_shop: Shop) -> None:
    """The backlog of each destination, its rate, and its last error, also when it is over."""
    auditor = Auditor(fresh_shop)
    signed_in(fresh_shop, "kim").post("/customers", data={"name": "Grace"})
    seal_and_deliver(fresh_shop)
    page = auditor.page("/integrity")
    assert re.search(r'data-label="Rate"[^>]*>0\.\d/s<', page)
    assert '<span class="muted">none</span>' in page
    attempts = Attempts()
    attempts.failed(SinkUnavailableError("the <collector> is down"), 0.0)
    save(fresh_shop, attempts)
    assert '<span class="bad">the &lt;collector&gt; is down</span>' in auditor.page("/integrity")
    assert "ago, 1 in a row" in auditor.page("/integrity")
    attempts.acknowledged(1, 0.0)
    save(fresh_shop, attempts)
    page = auditor.page("/integrity")
    assert ("the &lt;collector&gt; is down" in page, "ago, over" in page) == (True, True)


def save(shop: Shop, attempts: Attempts) -> None:
    """Store the status of the sink, as its relay does."""
    with shop.engine.begin() as connection:
        save_status(connection, shop.trail.tables, "file", attempts, 0.0)


def test_integrity_shows_the_last_recorded_verification(fresh_shop: Shop) -> None:
    """Its verdict, who recorded it, and what was sealed since; a failure replaces a success."""
    auditor = Auditor(fresh_shop)
    assert "No verification has been recorded" in auditor.page("/integrity")
    signed_in(fresh_shop, "kim").post("/customers", data={"name": "Grace"})
    run_verify(fresh_shop, exit_code=1)
    assert "Nothing was verified: 2 rows, 0 of them sealed." in auditor.page("/integrity")
    seal_and_deliver(fresh_shop)
    run_verify(fresh_shop, exit_code=0)
    page = auditor.page("/integrity")
    assert "Verified: 4 rows, 4 of them sealed." in page
    assert "by auditspan-cli" in page
    with fresh_shop.engine.begin() as connection:
        take_guards_away(connection)
        connection.execute(text("UPDATE audit_event SET body = replace(body, 'Grace', 'Mallory')"))
    run_verify(fresh_shop, exit_code=1)
    assert "Verification FAILED, with 2 findings" in auditor.page("/integrity")


def run_verify(shop: Shop, *, exit_code: int) -> None:
    """`flask audit verify --record`."""
    result = shop.app.test_cli_runner().invoke(args=["audit", "verify", "--record"])
    assert exit_code == result.exit_code, result.output


TRACE_URL = "https://jaeger.example.org/trace/{trace_id}"


def test_pages_link_to_the_tracing_backend(auditor: Auditor) -> None:
    """The event and the trace link to it where its URL is configured, and not otherwise."""
    event = auditor.events(action="customer.denied")[0]
    paths = (f"/events/{event.event_id}", f"/traces/{event.trace_id}")
    assert not any("Open in" in auditor.page(path) for path in paths)
    app = Flask(__name__)
    app.config["AUDITSPAN_TRACE_URL"] = TRACE_URL
    AuditExtension(auditor.shop.trail, viewer="/audit", can_view=lambda: True).init_app(app)
    link = f'href="https://jaeger.example.org/trace/{event.trace_id}" rel="noopener noreferrer"'
    pages = [app.test_client().get(f"/audit{path}").text for path in paths]
    assert [True, True] == [link in page for page in pages]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert('{trace_id}')",
        "https://jaeger.example.org/trace/",
        "https://{trace_id}.example.org/",
        "https://kim:secret@jaeger.example.org/{trace_id}",
        "//jaeger.example.org/{trace_id}",
        "https://[/{trace_id}",
    ],
)
def test_an_invalid_url_of_traces_is_refused(shop: Shop, url: str) -> None:
    """With a message that does not repeat it."""
    app = Flask(__name__)
    app.config["AUDITSPAN_TRACE_URL"] = url
    with pytest.raises(AuditConfigError, match="must be an HTTP URL with") as refused:
        AuditExtension(shop.trail, viewer="/audit").init_app(app)
    assert "secret" not in str(refused.value)


def test_a_trace_leads_to_its_event(auditor: Auditor) -> None:
    """The span, the span event and the log record of one change, each with the event's link."""
    event = auditor.events(action="customer.denied")[0]
    page = auditor.page(f"/traces/{event.trace_id}")
    link = f'<a data-row href="/audit/events/{event.event_id}">audit.customer.denied</a>'
    assert 2 == page.count(link)
    assert "POST /customers/&lt;int:key&gt;/delete" in page


def test_a_trace_shows_errors_and_attributes(auditor: Auditor) -> None:
    """A span that failed is marked, with its message; its events and attributes are there."""
    [_, event] = auditor.events(action="customer.update", text="/customers/<int:key>")
    page = auditor.page(f"/traces/{event.trace_id}")
    [span] = re.findall(r'<li class="span is-error">(.*?)</li>', page, re.DOTALL)
    words = ("send e-mail", ">error<", "mail.example.org does not answer", "queued, at")
    assert dict.fromkeys(words, True) == {word: word in span for word in words}
    assert '<dt class="mono">server.address</dt><dd>mail.example.org</dd>' in span


def test_a_trace_can_be_downloaded(auditor: Auditor) -> None:
    """The JSON document has the span, and no body of an audit record."""
    event = auditor.events(action="customer.denied")[0]
    response = auditor.get(f"/traces/{event.trace_id}.json")
    document = json.loads(response.data)
    assert "attachment" in response.headers["Content-Disposition"]
    assert [event.trace_id] == [span["trace_id"] for span in document["spans"]]
    assert "body" not in document["spans"][0]["logs"][0]


@pytest.mark.parametrize("files", [None, "/nonexistent/auditspan"])
def test_a_trace_without_files_says_why(auditor: Auditor, files: str | None) -> None:
    """Without a directory, or with one that is missing, the events of the trail are still shown."""
    app = Flask(__name__)
    app.config["AUDITSPAN_COLLECTOR_FILES"] = files
    AuditExtension(auditor.shop.trail, viewer="/audit", can_view=lambda: True).init_app(app)
    event = auditor.events(action="customer.denied")[0]
    page = app.test_client().get(f"/audit/traces/{event.trace_id}").text
    assert "AUDITSPAN_COLLECTOR_FILES" in page
    assert f'href="/audit/events/{event.event_id}"' in page


@pytest.mark.parametrize("payload", PAYLOADS)
def test_markup_in_a_value_is_text(fresh_shop: Shop, payload: str) -> None:
    """On every page that shows a value, markup is escaped, in text and in attributes."""
    client = signed_in(fresh_shop, "kim")
    client.post("/customers", data={"name": payload, "notes": f"{payload * 20}\n"})
    auditor = Auditor(fresh_shop)
    [event] = auditor.events()
    pages = [
        auditor.page("/"),
        auditor.page("/", text=payload),
        auditor.page(f"/events/{event.event_id}"),
        auditor.page("/", **{"text!": payload}),
        auditor.page("/history/customer/1"),
        auditor.page("/history/customer/1", at=event.event_id),
        auditor.page("/history/customer/1", at=payload),
        auditor.page(f"/events/{event.event_id}/revert"),
    ]
    marked = re.compile(r"<(script>|img src=x|svg onload|iframe)|[\"']>?\s*on\w+=alert|54439")
    found = [marked.search(page) for page in pages]
    assert [None] * len(pages) == [one and one[0] for one in found]
