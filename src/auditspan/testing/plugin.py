"""The pytest fixtures. PYTEST_DONT_REWRITE: no test is in here.

An application says once, in its `conftest.py`, what is under test:

@pytest.fixture
def audit_trail(): return trail

@pytest.fixture
def audit_bind(connection): return connection      # or an engine, a session, a sessionmaker
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auditspan.context import audit_context
from auditspan.format import Actor
from auditspan.testing.captured import CapturedEvents, since_now
from auditspan.testing.reading import Bind
from auditspan.testing.telemetry import telemetry_errors_raised
from auditspan.trail import AuditTrail


@pytest.fixture
def audit_trail() -> AuditTrail:
    """The trail under test. To be overridden."""
    raise pytest.UsageError(
        "say which trail is under test: define a fixture `audit_trail` in conftest.py that "
        "returns your AuditTrail"
    )


@pytest.fixture
def audit_bind() -> Bind:
    """Where to look for events; see `captured`. To be overridden."""
    raise pytest.UsageError(
        "say where to look for audit events: define a fixture `audit_bind` in conftest.py that "
        "returns your engine, or with rollback-per-test the connection that is rolled back"
    )


@pytest.fixture
def audit_events(audit_trail: AuditTrail, audit_bind: Bind) -> CapturedEvents:
    """The audit events that are written from where the fixture is set up; each look reads again."""
    return since_now(audit_trail, audit_bind)


@pytest.fixture
def audit_actor(request: pytest.FixtureRequest) -> Iterator[Actor]:
    """The actor of the test, in an `audit_context` from here to the end of the test.

    It is the user ``test`` unless another is given:
    ``@pytest.mark.parametrize("audit_actor", [Actor.user(7)], indirect=True)``.
    """
    actor: Actor = getattr(request, "param", None) or Actor.user("test")
    with audit_context(actor=actor):
        yield actor


@pytest.fixture
def audit_telemetry_errors() -> Iterator[None]:
    """A failure to emit telemetry fails the test: `pytest.mark.usefixtures(...)`."""
    with telemetry_errors_raised():
        yield
