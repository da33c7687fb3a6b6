"""The export of a search has the events of all of its pages."""

from __future__ import annotations

import csv
import json

import pytest

from apps.shop import Shop
from apps.shop.story import signed_in
from auditspan.reading import check_export
from integration.viewer.conftest import seal_and_deliver
from integration.viewer.looking import Auditor, export_links


def exported(auditor: Auditor, form: str, **criteria: str) -> list[str]:
    """The ids of the events in an export, newest first."""
    lines = auditor.page("/export", format=form, **criteria).splitlines()
    if form == "csv":
        return [row["event_id"] for row in csv.DictReader(lines)][::-1]
    *events, manifest = map(json.loads, lines)
    assert len(events) == manifest["manifest"]["count"]
    return [event["body"]["event_id"] for event in events][::-1]


@pytest.mark.parametrize("form", ["ndjson", "csv"])
@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"actor": "Kim"},
        {"action": "customer.*", "actor!": "kim"},
        {"field": "email"},
        {"text": "no such text"},
    ],
    ids=str,
)
def test_an_export_has_the_events_of_the_search(
    auditor: Auditor, criteria: dict[str, str], form: str
) -> None:
    """The ids are those on the page, without the views of pages."""
    assert auditor.listed(**criteria) == exported(auditor, form, **criteria)


def test_the_page_links_to_the_export_of_its_search(auditor: Auditor) -> None:
    """Both links carry the filters, also those that exclude."""
    page = auditor.page("/", **{"action": "customer.*", "actor!": "kim"})
    links = export_links(page)
    assert [
        "/export?action=customer.%2A&actor%21=kim&format=ndjson",
        "/export?action=customer.%2A&actor%21=kim&format=csv",
    ] == links
    assert {200} == {auditor.get(link).status_code for link in links}


def test_an_export_of_everything_can_be_checked(fresh_shop: Shop) -> None:
    """It is compared with the signed root."""
    signed_in(fresh_shop, "kim").post("/customers", data={"name": "Grace"})
    seal_and_deliver(fresh_shop)
    response = Auditor(fresh_shop).get("/export", views="1")
    assert 'attachment; filename="audit-events.ndjson"' == response.headers["Content-Disposition"]
    keys = [fresh_shop.signing_key.public]
    assert check_export(response.text.splitlines(keepends=True), keys) is None


def test_an_export_is_recorded_with_its_filters(auditor: Auditor) -> None:
    """Once, by the auditor."""
    auditor.page("/export", format="csv", actor="kim")
    [view, *_] = auditor.views()
    assert {"page": "export", "format": "csv", "filters": {"actor": "kim"}} == dict(view.metadata)
    assert "ada" == view.actor.id


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("format=xml", "Invalid format: expected ndjson or csv."),
        ("colour=red", "Unknown filter"),
        ("actor=kim&actor!=kim", "Actor is excluded, so that no event can match"),
    ],
)
def test_an_impossible_export_is_an_error(auditor: Auditor, query: str, words: str) -> None:
    """The page says what is wrong, and nothing is recorded."""
    before = auditor.views()
    response = auditor.get(f"/export?{query}")
    assert (400, True) == (response.status_code, words in response.text)
    assert before == auditor.views()


def test_without_sealed_events_there_is_no_export(fresh_shop: Shop) -> None:
    """The page has no link, and the address says what is missing."""
    signed_in(fresh_shop, "kim").post("/customers", data={"name": "Grace"})
    auditor = Auditor(fresh_shop)
    assert [] == export_links(auditor.page("/"))
    response = auditor.get("/export")
    assert (409, True) == (response.status_code, "No event is sealed yet" in response.text)
