"""The description of the API: complete, true, and readable without a network."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from auditspan_service.api.documents import Document
from auditspan_service.api.links import LINKS
from auditspan_service.api.operations import OPERATIONS
from support.openapi import COPY, description
from support.service import RunningService


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation of a description."""
    return [one for path in document["paths"].values() for one in path.values()]


def test_the_committed_copy_is_the_description() -> None:
    """`python tests/support/openapi.py` writes it anew."""
    assert description() == json.loads(COPY.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["audit_events.search", "exports.export"])
def test_filters_come_before_exclusions(name: str) -> None:
    """Exclusions follow in the order of their filters; paging and the form come last."""
    (found,) = [one for one in operations(description()) if one["operationId"] == name]
    names = [one["name"] for one in found["parameters"] if one["in"] == "query"]
    others = [one for one in names if one in {"limit", "cursor", "format"}]
    excluded = [one for one in names if one.startswith("not_")]
    filters = [one for one in names if one not in {*others, *excluded}]
    assert [*filters, *excluded, *others] == names
    assert [f"not_{one}" for one in filters if f"not_{one}" in excluded] == excluded


def test_every_route_is_described(service: RunningService) -> None:
    """But for pages and the description itself; each names the scope that it requires."""
    pages = ("auditspan.", "pages.")
    rules = {rule.endpoint for rule in service.app.url_map.iter_rules()}
    rules = {endpoint for endpoint in rules if not endpoint.startswith(pages)}
    assert set(OPERATIONS) == rules - {"openapi.document", "openapi.page"}
    document = service.app.test_client().get("/openapi.json").get_json()
    scopes = {one["operationId"]: one.get("description", "") for one in operations(document)}
    assert "Requires the scope `audit:write`." == scopes["event_ingest.create"]


def test_every_operation_has_examples() -> None:
    """Of its body and of each of its documents."""
    missing = []
    for one in operations(description()):
        media = [*one.get("requestBody", {}).get("content", {}).values()]
        media += [m for r in one["responses"].values() for m in r.get("content", {}).values()]
        missing += [one["operationId"] for each in media if each["example"] is None]
    assert [] == missing


@pytest.mark.parametrize(
    "model", [one for one in Document.__subclasses__() if one.EXAMPLE], ids=lambda one: one.__name__
)
def test_example_fits_its_schema(model: type[Document]) -> None:
    """The members of an example are those of the document."""
    model.model_validate(model.EXAMPLE, strict=False)


def test_links_lead_to_operations_and_their_parameters() -> None:
    """Each operation that is linked exists, and has the parameters that the link names."""
    known = {one["operationId"]: one["parameters"] for one in operations(description())}
    missing = [
        (name, parameter)
        for linked in LINKS.values()
        for name, parameters in linked.items()
        for parameter in parameters
        if parameter not in {f"{each['in']}.{each['name']}" for each in known[name]}
    ]
    assert [] == missing


def test_the_page_loads_nothing(service: RunningService) -> None:
    """It is one file of HTML without scripts, which names every operation."""
    response = service.app.test_client().get("/docs")
    assert [] == re.findall(r"<script|src=|@import|url\(|https?://", response.text)
    assert [] == [name for name in OPERATIONS if f'id="{name}"' not in response.text]
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
