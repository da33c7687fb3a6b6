"""The trail page lists what `trail.events` returns."""

from __future__ import annotations

import re
from html import unescape

import pytest

from apps.shop import Shop
from apps.shop.story import run_a_day, signed_in
from auditspan import Actor, Target, audit_context
from integration.viewer.looking import Auditor, next_page, rows


@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"actor": "kim"},
        {"actor": "Kim"},
        {"action": "customer.*"},
        {"action": "*.denied"},
        {"outcome": "failure"},
        {"field": "email"},
        {"text": "GRACE.hopper"},
        {"text": "no such text"},
        {"actor": "lee", "action": "customer.update"},
    ],
    ids=str,
)
def test_a_page_lists_the_events_that_match(auditor: Auditor, criteria: dict[str, str]) -> None:
    """The ids on the page are those of `trail.events` with the same criteria."""
    expected = [event.event_id for event in auditor.events(**criteria)]
    assert expected == rows(auditor.page("/", **criteria))


@pytest.mark.parametrize(
    "excluded",
    [
        {"actor": "kim"},
        {"actor": "Kim"},
        {"action": "customer.*"},
        {"field": "email"},
        {"text": "VIP"},
    ],
    ids=str,
)
def test_an_excluded_value_is_not_listed(auditor: Auditor, excluded: dict[str, str]) -> None:
    """`actor!=kim` lists the other events, and so do the other criteria."""
    left_out = {event.event_id for event in auditor.events(**excluded)}
    expected = [one.event_id for one in auditor.events() if one.event_id not in left_out]
    assert left_out
    assert expected == rows(auditor.page("/", **{f"{name}!": excluded[name] for name in excluded}))


def test_each_value_has_a_link_that_excludes_it(auditor: Auditor) -> None:
    """The link takes the place of a filter for the value, keeps the others, and can be inverted."""
    page = unescape(auditor.page("/", actor="kim", action="customer.update"))
    assert '<a class="not" href="?action=customer.update&actor%21=kim"' in page
    page = unescape(auditor.page("/", **{"action": "customer.update", "actor!": "kim"}))
    assert 'href="?action=customer.update&actor=kim" title="Only these instead"' in page
    assert 'href="?action=customer.update" title="Remove this filter">not actor: kim' in page
    assert '<input type="hidden" name="actor!" value="kim">' in page


@pytest.mark.parametrize("name", ["tx_id", "trace_id", "request_id"])
def test_an_id_of_the_context_is_a_filter(auditor: Auditor, name: str) -> None:
    """Transaction, trace and request select their own events."""
    event = auditor.events(action="customer.denied")[0]
    assert event.request is not None
    value = event.request.id if name == "request_id" else getattr(event, name)
    assert [event.event_id] == rows(auditor.page("/", **{name: str(value)}))


def test_a_target_and_a_time_are_filters(auditor: Auditor) -> None:
    """Type and id select the events of one object, `since` and `until` those of a time."""
    found = [one for one in auditor.events() if one.target == Target(type="customer", id="1")]
    target = {"target_type": "customer", "target_id": "1"}
    assert [event.event_id for event in found] == rows(auditor.page("/", **target))
    assert [] == rows(auditor.page("/", since="2999-01-01"))
    assert [] == rows(auditor.page("/", until="2020-01-01T00:00Z"))
    assert found[0].event_id in rows(auditor.page("/", since=found[-1].occurred_text))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("colour=red", "Unknown filter &#39;colour&#39;"),
        ("outcome=denied", "Invalid outcome &#39;denied&#39;"),
        ("since=yesterday", "Invalid since &#39;yesterday&#39;"),
        ("trace_id=12", "Invalid trace_id &#39;12&#39;"),
        ("action=a%20b", "Invalid action &#39;a b&#39;"),
        ("actor=a&actor=b", "The filter actor is given more than once"),
        ("since=2026-02-01&until=2026-01-01", "Since is not before until"),
        ("before=newest", "Invalid position &#39;newest&#39;"),
        ("before=9223372036854775808", "Invalid position"),
        ("since=0001-01-01T00:00%2B14:00", "Invalid since"),
        ("until=9999-12-31T23:59-14:00", "Invalid until"),
        ("text=a%00b", "Invalid text"),
    ],
)
def test_a_filter_that_cannot_match_is_an_error(auditor: Auditor, query: str, words: str) -> None:
    """The page says what is wrong, and shows no list that could be taken for an answer."""
    response = auditor.get(f"/?{query}")
    assert (400, True) == (response.status_code, words in response.text)
    assert 'id="listing"' not in response.text


@pytest.mark.parametrize(
    ("kind", "key"),
    [("a/b", "1"), ("x", "/x"), ("x", "a//b"), ("x", "../x"), ("é ü", "a%2F?#<b>/c"), ("..", "1")],
)
def test_any_target_leads_to_its_events(fresh_shop: Shop, kind: str, key: str) -> None:
    """The link of a target lists its event, also where no path can hold its type and id."""
    with audit_context(actor=Actor.unknown()):
        fresh_shop.trail.record_durable("thing.done", target=Target(type=kind, id=key))
    auditor = Auditor(fresh_shop)
    page = auditor.page("/")
    found = re.search(r'href="/audit([^"]+)" title="History"', page)
    assert found
    assert rows(page) == rows(auditor.page(unescape(found[1])))


def test_empty_fields_of_the_form_leave_the_url(auditor: Auditor) -> None:
    """A form sends all its fields; the URL keeps those that were filled in."""
    response = auditor.get("/?actor=&action=customer.*&text=+&outcome=")
    assert (302, "/audit/?action=customer.%2A") == (response.status_code, response.location)


def test_pages_follow_each_other_without_a_gap(fresh_shop: Shop) -> None:
    """Each event is on one page, however many views were recorded in between."""
    auditor = Auditor(fresh_shop)
    for number in range(30):
        with audit_context(actor=Actor.system("import")):
            for part in range(4):
                fresh_shop.trail.record_durable("import.row", metadata={"at": [number, part]})
        auditor.page("/integrity")
    page, path = auditor.page("/"), ""
    found = rows(page)
    while (following := next_page(page)) is not None:
        page, path = auditor.page(following), following
        found += rows(page)
    assert [event.event_id for event in auditor.events()] == found
    assert "before=" in path


def test_an_empty_trail_says_what_to_do(fresh_shop: Shop) -> None:
    """Without an event, the page shows how a model is audited."""
    assert "__audit__ = True" in Auditor(fresh_shop).page("/")


def test_a_full_page_is_light(fresh_shop: Shop) -> None:
    """The page with fifty events and all of its files is at most 150 kB, uncompressed."""
    for _ in range(5):
        run_a_day(fresh_shop)
    auditor = Auditor(fresh_shop)
    page = auditor.page("/")
    files = set(re.findall(r'(?:href|src)="/audit(/static/[^"]+)"', page))
    assert (50, 4) == (len(rows(page)), len(files))
    assert len(page.encode()) + sum(len(auditor.get(file).data) for file in files) <= 150_000


def test_an_unchanged_list_is_not_sent_again(fresh_shop: Shop) -> None:
    """A poll of a live page has no content until an event is recorded."""
    auditor, kim = Auditor(fresh_shop), signed_in(fresh_shop, "kim")
    kim.post("/customers", data={"name": "Grace"})
    polled = auditor.page("/", live="1").partition('hx-get="/audit')[2].partition('"')[0]
    assert (204, b"") == (auditor.get(polled.replace("&amp;", "&")).status_code, b"")
    kim.post("/customers", data={"name": "Alan"})
    assert 204 != auditor.get(f"/tail?newest={'9' * 5000}").status_code
    answer = auditor.get(polled.replace("&amp;", "&"))
    assert (200, True) == (answer.status_code, "1 new event<" in answer.text)
    assert [event.event_id for event in auditor.events()] == rows(answer.text)
