"""Requests that are made from the description of the API: valid, invalid, and one after another.

No answer is a server error, and each has a status and a document that the description names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from auditspan_service.database.engine import Database
from support.service import RunningService, running_service, settings_at

SMALL, LARGE = 4, pytest.param(150, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])
"""Cases for each operation, of each kind; the large ones are more than 5,000 in all."""
LEAST = {GenerationMode.POSITIVE: 23, GenerationMode.NEGATIVE: 10}
"""The operations for which so many different cases can be made, at least."""
FEW, MANY = 5, pytest.param(150, marks=pytest.mark.slow)
"""Sequences of up to eight requests."""


@pytest.fixture
def service(tmp_path: Path, sqlite_url: str) -> Iterator[RunningService]:
    """The service without a limit on the number of requests."""
    given = {"rate_limit": "off", "failure_limit": "off"}
    with running_service(settings_at(tmp_path / "data", sqlite_url, **given)) as running:
        yield running


def headers_of(service: RunningService) -> dict[str, str]:
    """Those of an administrator, whose key no random request revokes: it has a large id."""
    *_, issued = [service.issue("admin") for _ in range(30)]
    return {"Authorization": f"Bearer {issued.text}"}


def can_be_invalid(operation: dict[str, Any]) -> bool:
    """Tell whether a request can break a schema: text in a path or a header never does."""
    return "requestBody" in operation or any(
        one["in"] == "query" for one in operation["parameters"]
    )


@pytest.mark.parametrize("examples", [SMALL, LARGE])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_those_described(
    service: RunningService, mode: GenerationMode, examples: int
) -> None:
    """To valid and invalid requests alike: no server error, and no other status or document.

    A request that fits the schema may be refused all the same: schemas do not say everything.
    """
    headers, sent = headers_of(service), list[str]()
    schema = schemathesis.openapi.from_wsgi("/openapi.json", service.app)
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if mode is GenerationMode.POSITIVE or can_be_invalid(operation.definition.raw):
            validate(operation, mode, headers, examples, sent)
    assert len(sent) >= LEAST[mode] * examples


def validate(
    operation: Any, mode: GenerationMode, headers: dict[str, str], examples: int, sent: list[str]
) -> None:
    """Send some requests to an operation, and compare the answers with its description."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), deadline=None)
    def answered(case: Any) -> None:
        sent.append(case.method)
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

    answered()


@pytest.mark.parametrize("sequences", [FEW, MANY])
def test_answers_to_sequences_are_those_described(service: RunningService, sequences: int) -> None:
    """What one request creates is read, changed, deleted and read again, along the links."""
    app: Flask = service.app
    headers = headers_of(service)
    schema: Any = schemathesis.openapi.from_wsgi("/openapi.json", app)
    machine: Any = schema.as_state_machine()

    database = service.services.database
    start = at_rest(database).read_bytes()

    class Sequences(machine):  # type: ignore[misc]
        """Sequences of requests with a key."""

        def setup(self) -> None:
            """Begin with the same database: equal requests must have equal answers."""
            super().setup()
            at_rest(database).write_bytes(start)

        def teardown(self) -> None:
            """The service recorded no failure; clients record what outcome they like."""
            super().teardown()
            own = [body for body in service.bodies() if "ingest" not in body.get("metadata", {})]
            assert {"success"} >= {body["outcome"] for body in own}

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:  # noqa: ARG002 (the interface)
            """The headers of every request."""
            return {"headers": headers}

        def validate_response(self, response: Any, case: Any, **given: Any) -> None:
            """Compare the answer with the description.

            A link may have replaced what was invalid; `test_answers_are_those_described` checks
            that invalid requests are refused.
            """
            case.validate_response(
                response,
                excluded_checks=[positive_data_acceptance, negative_data_rejection],
                headers=headers,
                transport_kwargs=given,
            )

    Sequences.run(
        settings=settings(
            max_examples=sequences,
            stateful_step_count=8,
            suppress_health_check=list(HealthCheck),
            deadline=None,
            phases=[Phase.generate],
        )
    )


def at_rest(database: Database) -> Path:
    """Return the file of the database, with nothing left beside it."""
    database.dispose()
    path = Path(str(database.engine.url.database))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path
