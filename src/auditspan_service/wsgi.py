"""`auditspan_service.wsgi:app`, for gunicorn: imported in the worker, so built after the fork."""

from __future__ import annotations

from auditspan_service.app import create_app

app = create_app()
