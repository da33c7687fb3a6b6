"""The services of the application that handles the current request."""

from __future__ import annotations

from flask import current_app

from auditspan_service.services import Services

EXTENSION = "auditspan_service"
"""The services' key in `app.extensions`."""


def services() -> Services:
    """Return the services of the current application."""
    found: Services = current_app.extensions[EXTENSION]
    return found
