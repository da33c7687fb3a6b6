"""A forum with Flask-SQLAlchemy, in which everything saves and commits itself."""

from __future__ import annotations

from apps.forum.app import create_app
from apps.forum.audit import audited
from apps.forum.models import db

__all__ = ["audited", "create_app", "db"]
