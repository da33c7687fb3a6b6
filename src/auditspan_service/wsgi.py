"""The WSGI application for gunicorn; a worker imports it after the fork."""

from __future__ import annotations

from auditspan_service.app import create_app

app = create_app()
