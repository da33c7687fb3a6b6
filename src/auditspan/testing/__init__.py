"""Test support for applications with a trail. PYTEST_DONT_REWRITE: this package has no tests.

with captured(trail, engine) as events:
    bill_everybody()
assert ["invoice.create"] == events.actions

- `captured`, `captured_async`: the audit events of a block, as event resources.
- `rolled_back`: a block that is rolled back at its end, commits included.
- `reset`: empties the tables of a test database, for suites that commit.
- `SequentialIds`, `FixedClock`, `SteppingClock`: for `AuditTrail(new_id=..., clock=...)`.
- `telemetry_errors_raised`: makes a failure to emit telemetry fail the test.

`collected.collecting` collects spans and audit records with a real collector (extra `testing`).

With pytest, `pytest_plugins = ["auditspan.testing"]` adds the fixtures of `plugin`. Nothing else in
this package imports pytest.
"""

from __future__ import annotations

from auditspan.testing.captured import CapturedEvents, captured, captured_async
from auditspan.testing.clocks import FixedClock, SteppingClock
from auditspan.testing.event import Event
from auditspan.testing.ids import SequentialIds
from auditspan.testing.reset import reset
from auditspan.testing.rollback import rolled_back
from auditspan.testing.telemetry import telemetry_errors_raised
from auditspan.trail import KeyWarning

__all__ = [
    "CapturedEvents",
    "Event",
    "FixedClock",
    "SequentialIds",
    "SteppingClock",
    "captured",
    "captured_async",
    "reset",
    "rolled_back",
    "telemetry_errors_raised",
]

KeyWarning.is_allowed = KeyWarning.is_due = False  # a trail under test needs no key

# pytest follows this name when it loads this module; nothing else reads it.
pytest_plugins = ("auditspan.testing.plugin",)
