"""The description of the API: complete, true, and readable without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from auditspan_service.api.documents import Document
from auditspan_service.api.operations import OPERATIONS
from support.openapi import COPY, description
from support.service import RunningService, running_service, settings_at

EXAMPLES = 4
"""Cases for each operation, of each kind."""


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation of a description."""
    return [one for path in document["paths"].values() for one in path.values()]


def test_the_committed_copy_is_the_description() -> None:
    """`python tests/support/openapi.py` writes it anew."""
    assert description() == json.loads(COPY.read_text(encoding="utf-8"))


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


def test_the_page_loads_nothing(service: RunningService) -> None:
    """It is one file of HTML without scripts, which names every operation."""
    response = service.app.test_client().get("/docs")
    assert [] == re.findall(r"<script|src=|@import|url\(|https?://", response.text)
    assert [] == [name for name in OPERATIONS if f'id="{name}"' not in response.text]
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_those_described(tmp_path: Path, sqlite_url: str, mode: GenerationMode) -> None:
    """To valid and invalid requests alike: no server error, and no other status or document.

    A request that fits the schema may be refused all the same: schemas do not say everything.
    """
    with running_service(settings_at(tmp_path / "data", sqlite_url)) as service:
        headers = {"Authorization": f"Bearer {service.issue('admin').text}"}
        schema = schemathesis.openapi.from_wsgi("/openapi.json", service.app)
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]
            if mode is GenerationMode.POSITIVE or can_be_invalid(operation.definition.raw):
                validate(operation, mode, headers)


def can_be_invalid(operation: dict[str, Any]) -> bool:
    """Tell whether a request can break a schema: text in a path or a header never does."""
    return "requestBody" in operation or any(
        one["in"] == "query" for one in operation["parameters"]
    )


def validate(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> None:
    """Send some requests to an operation, and compare the answers with its description."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
    def answered(case: Any) -> None:
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

    answered()
