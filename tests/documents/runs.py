"""Pages that the tests of this folder run, by the test."""

from __future__ import annotations

_COMMANDS = "test_service_pages.py"
_APPLICATIONS = "test_application_pages.py"

RUN = {
    "adopt-late.md": _APPLICATIONS,
    "audit-a-flask-application.md": _APPLICATIONS,
    "audit-your-own-application.md": _APPLICATIONS,
    "bring-your-own-collector.md": _COMMANDS,
    "check-the-state.md": _COMMANDS,
    "erase-a-person.md": _APPLICATIONS,
    "get-the-collector.md": _APPLICATIONS,
    "guard-the-tables.md": _COMMANDS,
    "look-at-the-trail.md": _APPLICATIONS,
    "prove-and-export.md": _COMMANDS,
    "read-the-trail.md": _APPLICATIONS,
    "record-from-another-service.md": _COMMANDS,
    "run-the-worker.md": _APPLICATIONS,
    "see-it-in-a-backend.md": _COMMANDS,
    "send-to-a-second-collector.md": _COMMANDS,
    "use-several-databases.md": _APPLICATIONS,
    "verify.md": _COMMANDS,
}
