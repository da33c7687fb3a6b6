"""The pytest fixtures. PYTEST_DONT_REWRITE: this module has no tests.

An application defines once, in its `conftest.py`, the trail and the bind under test:

@pytest.fixture
def audit_trail(): return trail

@pytest.fixture
def audit_bind(connection): return connection      # or an engine, a session, a sessionmaker
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from auditspan.context import audit_context
from auditspan.format import Actor
from auditspan.testing.captured import CapturedEvents, since_now
from auditspan.testing.reading import Bind
from auditspan.testing.telemetry import telemetry_errors_raised
from auditspan.trail import AuditTrail

if TYPE_CHECKING:
    from auditspan.testing.collected import CollectedTelemetry


@pytest.fixture
def audit_trail() -> AuditTrail:
    """Return the trail under test; override this fixture."""
    raise pytest.UsageError(
        "no trail is under test: define a fixture `audit_trail` in conftest.py that returns your "
        "AuditTrail"
    )


@pytest.fixture
def audit_bind() -> Bind:
    """Return the bind to read events through, see `captured`; override this fixture."""
    raise pytest.UsageError(
        "no bind to read audit events through: define a fixture `audit_bind` in conftest.py that "
        "returns your engine, or with rollback-per-test the connection that is rolled back"
    )


@pytest.fixture
def audit_events(audit_trail: AuditTrail, audit_bind: Bind) -> CapturedEvents:
    """Return the audit events written since the fixture's setup; each access reads again."""
    return since_now(audit_trail, audit_bind)


@pytest.fixture
def audit_actor(request: pytest.FixtureRequest) -> Iterator[Actor]:
    """Set the actor of the test, in an `audit_context` until the end of the test.

    The actor is the user ``test`` unless another is given:
    ``@pytest.mark.parametrize("audit_actor", [Actor.user(7)], indirect=True)``.
    """
    actor: Actor = getattr(request, "param", None) or Actor.user("test")
    with audit_context(actor=actor):
        yield actor


@pytest.fixture
def audit_telemetry_errors() -> Iterator[None]:
    """Fail the test on a failure to emit telemetry: `pytest.mark.usefixtures(...)`."""
    with telemetry_errors_raised():
        yield


@pytest.fixture(scope="session")
def audit_collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectedTelemetry]:
    """Run a collector for the session, or write files like a collector's if there is none.

    Each process of a parallel run has a collector of its own.
    """
    from auditspan.testing.collected import collecting

    with collecting(tmp_path_factory.mktemp("collector")) as collected:
        yield collected


@pytest.fixture
def audit_telemetry(
    audit_collector: CollectedTelemetry, audit_trail: AuditTrail
) -> Iterator[CollectedTelemetry]:
    """Return the collected telemetry, while a worker delivers what the test commits."""
    with audit_collector.delivering(audit_trail):
        yield audit_collector
